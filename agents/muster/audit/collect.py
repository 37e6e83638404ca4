"""Finds the files to audit and reads them: the only step that touches a disk.

The rules, in the order they apply (each counts what it leaves out in `skipped`):

- "symlink": a link is not followed, so no file counts twice and none comes from outside.
- "hidden": names that start with a dot, such as `.git` and `.venv`.
- "installed": what a package manager brought: site-packages, node_modules, a virtual environment,
  caches, egg-info; for the standard library also what its build left behind.
- "tests": folders and files that hold tests, by their usual names.
- "language": a file name that no known language uses (images, archives, compiled code).
- "generated": lock files and minified scripts.
- "huge", "binary": larger than the limit; a NUL byte near the start.
- "limit": beyond the bounds for a whole collection.
- "unreadable": the system would not let us read it.

A folder that is left out counts once. A single file named by the caller is always read, whatever
its name and size.
"""

import os
import platform
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from muster.audit.languages import language_of
from muster.audit.limits import (
    BINARY_SNIFF_BYTES,
    COLLECTION_BYTES_MAX,
    FILE_BYTES_MAX,
    FILES_MAX,
)
from muster.audit.shapes import Collection, Manifest, Source, Target
from muster.audit.sources import data_of, pack

_INSTALLED: Final = frozenset(
    {"site-packages", "dist-packages", "node_modules", "__pycache__", "__pypackages__"}
)
_TEST_FOLDERS: Final = frozenset({"test", "tests", "idle_test", "__tests__", "testdata"})
_TEST_FILE: Final = re.compile(
    r"test_.*\.py|.*_test\.(py|go)|conftest\.py|.*\.(test|spec)\.[jt]sx?", re.IGNORECASE
)
_GENERATED_FILE: Final = re.compile(
    r".*[.-]min\.(js|css)|.*\.lock|(package|npm)-(lock|shrinkwrap)\.json|pnpm-lock\.yaml"
    r"|.*_pb2(_grpc)?\.pyi?|go\.sum",
    re.IGNORECASE,
)
# Made when the interpreter was built, so they differ between machines with the same Python.
_STDLIB_BUILD: Final = re.compile(
    r"config-.*|lib-dynload|_sysconfigdata.*|_sysconfig_vars.*|sitecustomize\.py|.*\.egg-info"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What to leave out. The defaults are what `muster audit PATH` uses."""

    file_bytes_max: int = FILE_BYTES_MAX
    files_max: int = FILES_MAX
    collection_bytes_max: int = COLLECTION_BYTES_MAX
    with_tests: bool = False


@dataclass(frozen=True, slots=True)
class _Walk:
    root: Path
    rules: Rules
    is_stdlib: bool
    skipped: Counter[str]


def stdlib_path() -> Path:
    """Where the running Python keeps the Python part of its standard library."""
    return Path(sysconfig.get_path("stdlib"))


def collect(path: Path | None = None, rules: Rules | None = None) -> Collection:
    """Reads what is to be audited: a folder, a file, or by default the standard library.

    Sources come sorted by path. Raises FileNotFoundError when there is nothing at `path`.
    """
    root = (stdlib_path() if path is None else path).resolve(strict=True)
    if root.is_file():
        source = pack(root.name, root.read_bytes())
        return {"target": {"name": root.name, "form": "file"}, "sources": [source], "skipped": {}}
    is_stdlib = root == stdlib_path().resolve()
    walk = _Walk(root, rules or Rules(), is_stdlib, Counter())
    sources = list(_sources(walk))
    skipped = dict(sorted(walk.skipped.items()))
    return {"target": _target(walk), "sources": sources, "skipped": skipped}


def manifest(collection: Collection) -> Manifest:
    """The collection without its text: what a planner and a merger need to know."""
    return {
        "target": collection["target"],
        "files": [{"path": s["path"], "bytes": len(data_of(s))} for s in collection["sources"]],
        "skipped": collection["skipped"],
    }


def _target(walk: _Walk) -> Target:
    if walk.is_stdlib:
        return {"name": f"Python {platform.python_version()} standard library", "form": "stdlib"}
    return {"name": walk.root.name or "/", "form": "folder"}


def _sources(walk: _Walk) -> Iterator[Source]:
    files = bytes_total = 0
    for relative in sorted(_files(walk, walk.root, "")):
        data = _read(walk, relative)
        if data is None:
            continue
        if files >= walk.rules.files_max or bytes_total + len(data) > (
            walk.rules.collection_bytes_max
        ):
            walk.skipped["limit"] += 1
            continue
        files, bytes_total = files + 1, bytes_total + len(data)
        yield pack(relative, data)


def _files(walk: _Walk, folder: Path, prefix: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        walk.skipped["unreadable"] += 1
        return
    for entry in entries:
        reason = _reason_to_skip(walk, entry)
        if reason is not None:
            walk.skipped[reason] += 1
        elif entry.is_dir(follow_symlinks=False):
            yield from _files(walk, folder / entry.name, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}"


def _reason_to_skip(walk: _Walk, entry: os.DirEntry[str]) -> str | None:
    if entry.is_symlink():
        return "symlink"
    if entry.name.startswith("."):
        return "hidden"
    if walk.is_stdlib and _STDLIB_BUILD.fullmatch(entry.name):
        return "installed"
    if entry.is_dir(follow_symlinks=False):
        return _reason_to_skip_folder(walk, entry)
    return _reason_to_skip_file(walk, entry)


def _reason_to_skip_folder(walk: _Walk, entry: os.DirEntry[str]) -> str | None:
    if entry.name in _INSTALLED or entry.name.endswith(".egg-info"):
        return "installed"
    if Path(entry.path, "pyvenv.cfg").exists():
        return "installed"
    if entry.name in _TEST_FOLDERS and not walk.rules.with_tests:
        return "tests"
    return None


def _reason_to_skip_file(walk: _Walk, entry: os.DirEntry[str]) -> str | None:
    if not entry.is_file(follow_symlinks=False) or language_of(entry.name) is None:
        return "language"
    if _TEST_FILE.fullmatch(entry.name) and not walk.rules.with_tests:
        return "tests"
    if _GENERATED_FILE.fullmatch(entry.name):
        return "generated"
    if not entry.name.isprintable():
        return "unreadable"
    return None


def _read(walk: _Walk, relative: str) -> bytes | None:
    try:
        with (walk.root / relative).open("rb") as file:
            # One byte more than allowed tells a huge file without reading all of it.
            data = file.read(walk.rules.file_bytes_max + 1)
    except OSError:
        walk.skipped["unreadable"] += 1
        return None
    if len(data) > walk.rules.file_bytes_max:
        walk.skipped["huge"] += 1
        return None
    if b"\0" in data[:BINARY_SNIFF_BYTES]:
        walk.skipped["binary"] += 1
        return None
    return data
