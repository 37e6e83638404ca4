"""The Dockerfile: what a linter says of it, and its installation, done for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.sources import ROOT, files
from tests.support.deploying import DEPLOY, dockerfile

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_a_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    ended = subprocess.run(
        [hadolint, "--format", "json", str(DEPLOY / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert json.loads(ended.stdout) == []
    assert ended.returncode == 0


def test_it_runs_as_somebody_without_rights_and_without_a_shell() -> None:
    said = {each.name: each.rest for each in dockerfile()}
    assert re.fullmatch(r"\d+:\d+", said["USER"])
    assert not said["USER"].startswith("0")
    for name in ("ENTRYPOINT", "CMD"):
        assert json.loads(said[name]), "the form without a shell, so that signals arrive"
    probe, _, command = said["HEALTHCHECK"].partition("CMD ")
    assert json.loads(command) == ["muster", "health"]
    assert "--start-period" in probe
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert dockerfile()[-1].stage == 1, "what builds is no part of what runs"


def test_bases_are_pinned_by_their_version() -> None:
    (python,) = (each.rest for each in dockerfile() if each.rest.startswith("PYTHON="))
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+", python)
    named = [each.rest.split()[0] for each in dockerfile() if each.name == "FROM"]
    assert set(named) == {"docker.io/library/python:${PYTHON}"}


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("processes")
def test_what_the_build_installs_is_what_the_lock_says_and_runs(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "muster"
    _context(source)
    (extras,) = (each.rest for each in dockerfile() if each.rest.startswith("EXTRAS="))
    uv = str(Path(sys.executable).with_name("uv"))
    steps = (
        ["dependencies", uv, str(target), extras.removeprefix("EXTRAS=").strip('"')],
        ["muster", uv, str(target)],
    )
    for step in steps:
        assert any(f"./install {step[0]} /tools/bin/uv" in each.rest for each in dockerfile())
        ended = subprocess.run(
            [source / "install", *step],
            cwd=source,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
    listed = subprocess.run(
        [uv, "pip", "list", "--python", target / "bin" / "python", "--format", "json"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found = {each["name"]: each["version"] for each in json.loads(listed.stdout)}
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", lock, re.MULTILINE))
    assert found.pop("muster-mesh") == PROJECT["version"]
    assert found.items() <= locked.items()
    assert {"asyncpg", "python-consul", "nats-py", "grpcio"} <= found.keys()
    assert not {"mypy", "pytest", "pip", "uv", "ruff"} & found.keys()
    said = subprocess.run(
        [target / "bin" / "muster", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"muster {PROJECT['version']}\n"
    modules = "muster.scheduler, muster.registry, muster.executor, muster.allinone, muster.hosting"
    modules += ", muster.backends.postgres.ledger, muster.backends.jetstream.bus"
    modules += ", muster.backends.consul.directory"
    python = str(target / "bin" / "python")
    subprocess.run([python, "-P", "-c", f"import {modules}"], cwd=tmp_path, check=True)


def _context(folder: Path) -> None:
    """Copies what the Dockerfile copies into its build, as .dockerignore lets it through."""
    folder.mkdir()
    for each in dockerfile():
        if each.name == "COPY" and each.stage == 0:
            *sources, target = each.rest.split()
            for source in sources:
                to = folder / (Path(source).name if target == "./" else target)
                if (ROOT / source).is_file():
                    shutil.copy(ROOT / source, to)
                else:
                    _copy_tree(source, to)


def _copy_tree(source: str, to: Path) -> None:
    for name in files():
        if name.startswith(f"{source}/"):
            path = to / name.removeprefix(f"{source}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path)


def _environment() -> dict[str, str]:
    """As in the image: whatever is active here is not there."""
    return {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
