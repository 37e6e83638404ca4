import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from muster.servers import building, postgres
from muster.servers.building import BuildError, find_go, get, link_flags, progress
from muster.servers.finding import PROGRAMS, Program, dotted, parse_version
from muster.servers.known import KINDS
from muster.servers.server import ServerMissing
from tests.sources import ROOT

MODULES = ROOT / "deploy" / "backends"
CONSUL = PROGRAMS["consul"]


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """Makes a program that prints something."""

    def make(name: str, says: str, folder: str = "bin", code: int = 0) -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
        path.chmod(0o755)
        return path

    return make


def environment(tmp_path: Path) -> dict[str, str]:
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("nats-server: v2.15.2", (2, 15, 2)),
        ("Consul v1.21.0\nBuild Date 1970-01-01T00:00:01Z\nProtocol 2 spoken", (1, 21, 0)),
        ("temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)", (1, 5, 1)),
        ("grpcurl dev build <no version set>", None),
        ("", None),
    ],
)
def test_programs_say_their_version_each_in_its_way(
    said: str, version: tuple[int, int, int] | None
) -> None:
    assert parse_version(said) == version


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ((1, 21, 0), True),
        ((1, 21, 9), True),
        ((1, 22, 0), True),
        ((1, 20, 9), False),
        ((2, 0, 0), False),
        (None, False),
    ],
)
def test_a_version_fits_if_it_is_not_older_and_of_the_same_major(
    version: tuple[int, int, int] | None, fits: bool
) -> None:
    assert CONSUL.fits(version) is fits


def test_one_on_path_comes_first_if_it_fits(tmp_path: Path, script: Callable[..., Path]) -> None:
    built = script("consul", "Consul v1.21.0", f"cache/muster/backends/{folder_of(CONSUL)}")
    assert CONSUL.find(environment(tmp_path)) == built
    old = script("consul", "Consul v1.9.0")
    assert CONSUL.find(environment(tmp_path)) == built
    old.unlink()
    newer = script("consul", "Consul v1.22.1")
    assert CONSUL.find(environment(tmp_path)) == newer


def folder_of(program: Program) -> str:
    return f"{program.name}-{dotted(program.version)}"


def test_one_that_is_nowhere_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ServerMissing, match=r"consul 1\.21\.0 is not on this .* make backends"):
        CONSUL.find(environment(tmp_path))


def test_one_that_breaks_does_not_fit(tmp_path: Path, script: Callable[..., Path]) -> None:
    script("consul", "Consul v1.21.0", code=1)
    assert CONSUL.on_path(environment(tmp_path)) is None


def test_a_server_that_a_file_names_is_elsewhere_too(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    file.write_text("postgresql://ann:secret@db.example/muster\n")
    kind = KINDS["postgres"]
    assert kind.elsewhere({"MUSTER_LEDGER": f"file:{file}"}) == "db.example:5432"
    file.unlink()
    assert kind.elsewhere({"MUSTER_LEDGER": f"file:{file}"}) is None


# --- what is built --------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_the_module_pins_the_version_that_is_looked_for(program: Program) -> None:
    module = (MODULES / program.name / "go.mod").read_text()
    (tool,) = re.findall(r"^tool (\S+)$", module, re.MULTILINE)
    assert tool == program.package
    pinned = [
        line.split()
        for line in module.splitlines()
        if line.startswith(("\t", "require ")) and " v" in line and "=>" not in line
    ]
    versions = {
        words[-2]: words[-1] for words in (row[:-2] if "//" in row else row for row in pinned)
    }
    (module_of,) = [name for name in versions if program.package.startswith(name)]
    assert parse_version(versions[module_of]) == program.version
    sums = (MODULES / program.name / "go.sum").read_text()
    assert f"{module_of} {versions[module_of]} h1:" in sums


def test_everything_that_is_pinned_is_looked_for() -> None:
    assert {path.name for path in MODULES.iterdir() if path.is_dir()} == set(PROGRAMS)


def test_the_linker_sets_the_version_only_where_the_program_cannot_know_it() -> None:
    assert link_flags(CONSUL) == "-s -w"
    assert link_flags(PROGRAMS["grpcurl"]) == "-s -w -X main.version=1.9.4"


def test_without_go_it_is_said_which_one_is_needed(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"Go 1\.\d\d or newer, which is not on PATH; install"):
        find_go(MODULES / "consul", str(tmp_path))


GO = """#!/bin/sh
if [ "$1" = list ]; then printf 'one\\ntwo\\n'; exit; fi
echo one >&2
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho Consul v%s\\n' {version} > "$2"
chmod 755 "$2"
echo built >> {folder}/builds
exit {code}
"""


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A `go` that makes a program of a version, or fails."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def make(version: str = "1.21.0", code: int = 0) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        go = tmp_path / "bin" / "go"
        go.write_text(GO.format(version=version, folder=tmp_path, code=code))
        go.chmod(0o755)

    return make


def test_a_program_is_built_once(tmp_path: Path, fake_go: Callable[..., None]) -> None:
    fake_go()
    left = CONSUL.cached().parent.parent / ".building-killed"
    left.mkdir(parents=True)
    for _ in range(2):
        assert get(CONSUL, MODULES) == CONSUL.cached()
    assert (tmp_path / "builds").read_text() == "built\n"
    assert CONSUL.find() == CONSUL.cached()
    assert not left.exists()


@pytest.mark.parametrize(
    ("version", "code", "message"),
    [("1.20.0", 0, "says that it is 1.20.0"), ("1.21.0", 1, r"`\S+go build` failed in .*\none")],
)
def test_what_is_not_right_does_not_get_into_the_cache(
    fake_go: Callable[..., None], version: str, code: int, message: str
) -> None:
    fake_go(version, code)
    with pytest.raises(BuildError, match=message):
        get(CONSUL, MODULES)
    assert sorted(path.name for path in CONSUL.cached().parent.parent.iterdir()) == [".lock"]


def test_progress_is_told_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with progress("consul", "of 2,000 packages", re.compile("package/"), lambda: now) as hear:
        for number in range(30):
            now += 1.0
            hear("go: downloading something")
            hear(f"package/{number}")
    assert capsys.readouterr().out.splitlines() == [
        "consul: 10 of 2,000 packages, 10 s",
        "consul: 20 of 2,000 packages, 20 s",
        "consul: 30 of 2,000 packages, 30 s",
    ]


# --- PostgreSQL -----------------------------------------------------------------------------------


def installed(*majors: int) -> list[postgres.Programs]:
    return [postgres.Programs(major, Path(f"/lib/{major}")) for major in majors]


def test_new_data_gets_the_newest_and_old_data_the_one_that_made_it(tmp_path: Path) -> None:
    assert postgres.choose(installed(17, 15), tmp_path).major == 17
    (tmp_path / "PG_VERSION").write_text("15\n")
    assert postgres.choose(installed(17, 15), tmp_path).major == 15
    with pytest.raises(ServerMissing, match=r"made by PostgreSQL 15, .* \(there is 17, 16\)"):
        postgres.choose(installed(17, 16), tmp_path)


def test_a_missing_postgres_is_named_with_the_package_to_install(tmp_path: Path) -> None:
    with pytest.raises(ServerMissing, match="apt install postgresql"):
        postgres.choose([], tmp_path)


def test_an_installation_that_cannot_make_data_is_none(
    tmp_path: Path, script: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_FOLDERS", ())
    script("postgres", "postgres (PostgreSQL) 16.2 (Debian)")
    assert postgres.find_programs(str(tmp_path / "bin")) == []
    script("initdb", "initdb")
    assert postgres.find_programs(str(tmp_path / "bin")) == [
        postgres.Programs(16, tmp_path / "bin")
    ]


def test_make_backends_says_what_is_missing_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(postgres, "_FOLDERS", ())
    monkeypatch.setattr(building, "NICENESS", 0)
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert building.main([str(MODULES)]) == 1
    said = capsys.readouterr().out
    assert said.count("install it from https://go.dev/dl") == len(PROGRAMS)
    assert said.endswith(f"still missing: {', '.join((*PROGRAMS, 'postgres'))}\n")
