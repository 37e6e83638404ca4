"""`make backends`: gets the servers that this machine lacks, by building them with Go.

    python -m muster.servers.building deploy/backends

Each program has a module of its own below that folder: go.mod pins it, go.sum all that it is made
of. It is built beside the cache's folder for it, asked for its version, and moved into place. What
is there is not built again, and what was interrupted goes on, in Go's own cache, where it was.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from muster.servers import postgres
from muster.servers.finding import PROGRAMS, Program, dotted
from muster.servers.server import ServerMissing

NICENESS = 10  # it takes all cores for minutes; whoever works beside it should not feel it
_TOLD_SECONDS = 10.0  # between two lines of progress, where they cannot replace each other
_LAST_LINES = 15
_DOWNLOADING = re.compile(r"go: downloading ")
_COMPILING = re.compile(r"(?!go: |#)\S")  # `go build -v` names each package before it compiles it
_GO_LINE = re.compile(r"^go (\d+\.\d+)", re.MULTILINE)


class BuildError(Exception):
    """A program cannot be built; the message says why, and what to do."""


def main(arguments: list[str]) -> int:
    """Gets everything; 0 when it is all there."""
    modules = Path(arguments[0])
    os.nice(NICENESS)
    missing = []
    for program in PROGRAMS.values():
        try:
            say(f"{program.title}: {get(program, modules)}")
        except BuildError as error:
            say(f"{program.title}: {error}")
            missing.append(program.name)
    try:
        found = postgres.choose(postgres.find_programs(), Path(os.devnull))
        say(f"postgres {found.major}: {found.folder}")
    except ServerMissing as error:
        say(f"postgres: {error}")
        missing.append("postgres")
    if missing:
        say(f"still missing: {', '.join(missing)}")
    return 1 if missing else 0


def say(text: str) -> None:
    """Tells whoever waits."""
    print(text, flush=True)  # noqa: T201 - a command of its own


def get(program: Program, modules: Path) -> Path:
    """Where the program is, after it was built if it had to be. Raises `BuildError`."""
    if found := program.on_path():
        return found[0]
    # Nothing gets there without having told its version.
    cached = program.cached()
    if not os.access(cached, os.X_OK):
        with _alone(cached.parent.parent):
            # Somebody else may have built it while we waited.
            if not os.access(cached, os.X_OK):
                _build(program, modules / program.name, cached)
    return cached


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One build at a time on this cache; what a killed one has left is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another `make backends` is building; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob(".building-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _build(program: Program, module: Path, target: Path) -> None:
    go = find_go(module)
    fresh = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent.parent))
    try:
        began = time.monotonic()
        say(f"{program.title}: building it")
        with progress(program.title, "modules downloaded", _DOWNLOADING) as hear:
            packages = _go([go, "list", "-deps", program.package], module, hear)
        # Fewer are told than there are: what Go has in its cache is not compiled again.
        unit = f"of {len(packages.splitlines()):,} packages"
        words = [go, "build", "-v", "-trimpath", "-ldflags", link_flags(program)]
        with progress(program.title, unit, _COMPILING) as hear:
            _go([*words, "-o", str(fresh / program.name), program.package], module, hear)
        _verify(program, fresh / program.name)
        shutil.rmtree(target.parent, ignore_errors=True)
        fresh.chmod(0o755)
        fresh.rename(target.parent)
        say(f"{program.title}: built in {time.monotonic() - began:.0f} s")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def link_flags(program: Program) -> str:
    """What the linker is told: no symbols, and the version where the program cannot know it."""
    version = f" -X {program.version_variable}={dotted(program.version)}"
    return "-s -w" + (version if program.version_variable else "")


def find_go(module: Path, path: str | None = None) -> str:
    """The `go` on PATH. Raises `BuildError`."""
    go = shutil.which("go", path=path)
    if go is None:
        needed = _GO_LINE.search((module / "go.mod").read_text(encoding="utf-8"))
        version = f"Go {needed[1]} or newer" if needed else "Go"
        message = (
            f"it is built with {version}, which is not on PATH; install it from https://go.dev/dl"
        )
        raise BuildError(message)
    return go


def _verify(program: Program, path: Path) -> None:
    said = program.version_of(path)
    if said != program.version:
        told = dotted(said) if said else "nothing that is a version"
        message = f"what was built says that it is {told}; is {path} fit for this machine?"
        raise BuildError(message)


def _go(words: list[str], module: Path, hear: Callable[[str], None]) -> str:
    """Runs Go in a module, and returns what it prints; `hear` gets each line of its stderr."""
    # Without C: no compiler is needed, and it runs on any system of this kind.
    environment = {**os.environ, "CGO_ENABLED": "0"}
    with tempfile.TemporaryFile("w+") as out:
        with subprocess.Popen(
            words, cwd=module, env=environment, stdout=out, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            last: list[str] = []
            for line in process.stderr:
                hear(line.rstrip())
                last = [*last[1 - _LAST_LINES :], line.rstrip()]
        if process.returncode != 0:
            message = f"`{' '.join(words[:2])}` failed in {module}:\n" + "\n".join(last)
            raise BuildError(message)
        out.seek(0)
        return out.read()


@contextmanager
def progress(
    title: str,
    unit: str,
    counted: re.Pattern[str],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[str], None]]:
    """Hears Go's lines, and tells now and then how many of them were such as count."""
    replaces = sys.stdout.isatty()
    count, began = 0, clock()
    told = began

    def hear(line: str) -> None:
        nonlocal count, told
        now = clock()
        if not counted.match(line):
            return
        count += 1
        if replaces or now - told >= _TOLD_SECONDS:
            told = now
            text = f"{title}: {count:,} {unit}, {now - began:.0f} s"
            sys.stdout.write(f"\r{text}\x1b[K" if replaces else f"{text}\n")
            sys.stdout.flush()

    try:
        yield hear
    finally:
        if replaces and count:
            sys.stdout.write("\n")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)  # the next time it goes on from here
