"""What is built, installed and type-checked is the same set of folders, and the lock covers it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.sources import NAMESPACE_PARENTS, ROOT, files, module_name

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_tool_knows_the_same_namespace_parents() -> None:
    tools = PROJECT["tool"]
    packages = tools["hatch"]["build"]["targets"]["wheel"]["packages"]
    mypy_path = [path.removeprefix("$MYPY_CONFIG_FILE_DIR/") for path in tools["mypy"]["mypy_path"]]
    assert tools["hatch"]["build"]["dev-mode-dirs"] == list(NAMESPACE_PARENTS)
    assert mypy_path == list(NAMESPACE_PARENTS)
    assert set(NAMESPACE_PARENTS) <= set(tools["ruff"]["src"])
    assert set(packages) == {f"{parent}/muster" for parent in NAMESPACE_PARENTS} | {
        "gen/python/buf"
    }


def test_every_package_of_the_namespace_says_that_it_is_typed() -> None:
    package = re.compile(rf"(?:{'|'.join(NAMESPACE_PARENTS)})/muster/[^/]+(?=/)")
    packages = {match[0] for path in files() if (match := package.match(path))}
    found = sorted(name for name in packages if f"{name}/py.typed" not in files())
    assert not found, f"add an empty py.typed, or type checkers of other projects see Any: {found}"


LOCKS = ("requirements.lock", "requirements-ray.lock")


def locked_in(name: str) -> dict[str, str]:
    """Version by package."""
    lock = (ROOT / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", lock, re.MULTILINE))


def test_the_locks_hold_a_version_that_satisfies_every_declared_dependency() -> None:
    locked = {**locked_in("requirements-ray.lock"), **locked_in("requirements.lock")}
    extras = PROJECT["project"]["optional-dependencies"].values()
    declared = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    wanted = {line: Requirement(line) for line in declared}
    found = [
        line
        for line, need in wanted.items()
        if not need.specifier.contains(locked.get(need.name.lower().replace("_", "-"), "0"))
    ]
    assert not found, f"run make lock and commit requirements.lock: {found}"


def test_what_both_locks_hold_is_the_same_version() -> None:
    every, with_ray = (locked_in(name) for name in LOCKS)
    assert "ray" in with_ray
    assert "ray" not in every
    assert not {name for name in with_ray.keys() & every if with_ray[name] != every[name]}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash(name: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text())
    assert not [block for block in blocks if "==" in block and "--hash=sha256:" not in block]


def test_the_wheel_holds_every_module_and_no_other_top_level_package(tmp_path: Path) -> None:
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    with zipfile.ZipFile(tmp_path / made.stdout.split()[-1]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in held} <= {"muster", "buf"}
    modules = {path.partition("muster/")[2] for path in files() if module_name(path)}
    assert {f"muster/{module}" for module in modules} <= held
