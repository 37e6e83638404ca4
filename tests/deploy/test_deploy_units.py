"""The units: as systemd reads them, and how much they leave a process."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from muster.servers.server import ServerMissing
from tests.support.deploying import SYSTEMD, environment_file, texts, units
from tests.support.servers import missing

# `systemd-analyze security`: 0.0 leaves nothing, 10.0 everything; here times ten.
EXPOSURE_MAX = 15


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine on which Muster is installed, as far as systemd looks."""
    if shutil.which("systemd-analyze") is None:
        missing(ServerMissing("systemd-analyze is not on this machine: apt install systemd"))
    program = tmp_path / "opt" / "muster" / "bin" / "muster"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    folder = tmp_path / "etc" / "systemd" / "system"
    folder.mkdir(parents=True)
    for path in (*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.target")):
        shutil.copy(path, folder)
    # Of systemd's own, what these name.
    for name in ("network-online", "multi-user", "sysinit", "basic", "shutdown", "system"):
        kind = "slice" if name == "system" else "target"
        (folder / f"{name}.{kind}").write_text("[Unit]\nDefaultDependencies=no\n")
    (tmp_path / "etc" / "passwd").write_text(
        "root:x:0:0::/:/bin/sh\nmuster:x:900:900::/:/bin/false\nmuster-host:x:901:901::/:/bin/false\n"
    )
    (tmp_path / "etc" / "group").write_text("root:x:0:\nmuster:x:900:\nmuster-host:x:901:\n")
    return tmp_path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
    )


def instance(name: str) -> str:
    return name.replace("@.", "@mine.")


@pytest.mark.parametrize("name", [*units(), "muster.target"])
def test_systemd_understands_all_of_it(name: str, root: Path) -> None:
    ended = analyze("verify", "--man=no", f"--root={root}", instance(name))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_what_is_misspelt_is_found(root: Path) -> None:
    file = root / "etc" / "systemd" / "system" / "muster-registry.service"
    file.write_text(file.read_text().replace("ProtectSystem=", "ProtectSytem="))
    assert "ProtectSytem" in analyze("verify", "--man=no", f"--root={root}", file.name).stderr


@pytest.mark.parametrize("name", units())
def test_a_process_is_left_little(name: str, root: Path) -> None:
    ended = analyze(
        "security", "--offline=yes", f"--root={root}", f"--threshold={EXPOSURE_MAX}",
        "--json=short", instance(name),
    )  # fmt: skip
    found = json.loads(ended.stdout or "[]")
    open_to_it = [each["name"] for each in found if not each["set"] and each["exposure"]]
    assert ended.returncode == 0, (ended.stderr, open_to_it)


def test_every_unit_is_confined_alike() -> None:
    def settings(name: str) -> set[str]:
        text = texts()[f"systemd/{name}"]
        return set(text.partition("nothing else.\n")[2].partition("\n\n")[0].splitlines())

    first, *others = map(settings, units())
    assert len(first) > 20
    assert all(each == first for each in others)


def test_users_and_folders_that_units_name_are_made() -> None:
    users = set(re.findall(r"^u (\S+)", texts()["systemd/sysusers.d/muster.conf"], re.MULTILINE))
    folders = re.findall(r"^d (\S+)", texts()["systemd/tmpfiles.d/muster.conf"], re.MULTILINE)
    for unit in units().values():
        assert unit["User"] == unit["Group"]
        assert set(unit["User"]) <= users
        named = [file.removeprefix("-") for file in unit["EnvironmentFile"]]
        named += [each.partition(":")[2] for each in unit.get("LoadCredential", ())]
        named += [word for word in unit["ExecStart"][0].split() if word.startswith("/etc/")]
        assert {str(Path(each).parent) for each in named} <= set(folders)
    made = analyze_text("systemd-sysusers", SYSTEMD / "sysusers.d" / "muster.conf")
    assert made is None or "muster-host" in made


def analyze_text(program: str, file: Path) -> str | None:
    """What a program of systemd would do with a file; None where it is not on this machine."""
    path = shutil.which(program)
    if path is None:
        return None
    ended = subprocess.run(
        [path, "--dry-run", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def test_examples_are_read_by_some_unit() -> None:
    read = {Path(file).name for unit in units().values() for file in unit["EnvironmentFile"]}
    assert {path.name for path in (SYSTEMD / "env").iterdir()} <= read


def test_schedulers_may_be_told_the_temporal_of_the_workers() -> None:
    told = environment_file("engine.env")["MUSTER_TEMPORAL"]
    assert f"# MUSTER_TEMPORAL={told}\n" in texts()["systemd/env/scheduler.env"]


def test_a_worker_starts_where_there_is_no_key_for_temporal() -> None:
    unit = units()["muster-engine.service"]
    (loaded,) = (each.partition(":")[0] for each in unit["LoadCredential"])
    # What is used where there is no file. Without a value systemd would take no notice of it.
    assert unit["SetCredential"] == [f"{loaded}:\\n"]
    assert f"MUSTER_TEMPORAL_API_KEY=file:%d/{loaded}" in unit["Environment"]
