"""Where the microseconds of a contract go: samples of the mesh process, sorted into parts.

py-spy looks at the process from outside, a few hundred times a second, and writes the stack of each
thread that runs. The parts are named by functions; the innermost named one counts.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

SAMPLES_PER_SECOND = 200
STACKS_FILE = "mesh.stacks.txt"
SVG_FILE = "mesh.svg"
TABLE_FILE = "mesh.parts.txt"

# Part -> what frames of it look like: "function (file" or "(file" alone, as py-spy writes them. The
# first part that a frame fits counts.
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("writer: fsync and the rest of COMMIT", ("commit (muster/backends/sqlite/writer",)),
    ("writer: rows", ("_write (muster/backends", "_fenced (muster/backends", "(muster/backends/")),
    ("validation", ("(muster/runtime/validation", "(protovalidate", "(muster/scheduler/schemas")),
    (
        "submit",
        ("submit (muster/scheduler", "(muster/scheduler/messages_in", "(muster/scheduler/streams"),
    ),
    (
        "queue and placement",
        (
            "plan (muster/scheduler",
            "(muster/scheduler/placing",
            "(muster/scheduler/queue",
            "(muster/scheduler/fleet",
        ),
    ),
    (
        "rows and effects",
        ("apply (muster/scheduler/applying", "(muster/scheduler/rows", "(muster/scheduler/effects"),
    ),
    (
        "after the commit",
        (
            "committed (muster/scheduler/applying",
            "_on_commit (muster/scheduler",
            "(muster/scheduler/hub",
            "(muster/scheduler/messages_out",
            "(muster/scheduler/outbound",
        ),
    ),
    (
        "reports",
        (
            "report (muster/scheduler",
            "(muster/scheduler/core_attempts",
            "(muster/scheduler/core_sessions",
        ),
    ),
    ("scheduler: the rest", ("(muster/scheduler",)),
    ("sessions and links", ("(muster/executor",)),
    ("registry", ("(muster/registry",)),
    ("gRPC frames", ("(grpc/", "(muster/runtime/interceptor", "(muster/wire")),
)
REST = "event loop and the rest"


def part_of(frames: Iterable[str]) -> str:
    """The part that a stack, outermost frame first, belongs to."""
    for frame in reversed(list(frames)):
        for part, patterns in PARTS:
            if any(pattern in frame for pattern in patterns):
                return part
    return REST


def parts(stacks: str) -> Counter[str]:
    """Samples by part, from collapsed stacks: "outer;…;inner count", one a line."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[part_of(stack.split(";"))] += int(count)
    return counts


def parts_table(stacks: str, microseconds: float) -> str:
    """A line for each part: its share, and of the µs that a contract costs."""
    counts = parts(stacks)
    whole = sum(counts.values()) or 1
    lines = [
        f"{count / whole * microseconds:6.1f} µs  {count / whole:5.1%}  {part}"
        for part, count in counts.most_common()
    ]
    return "\n".join([*lines, f"{microseconds:6.1f} µs  100 %   the mesh, for one contract"]) + "\n"


@dataclass(frozen=True)
class Recorded:
    """A recording under way: the load should last so many seconds."""

    folder: Path
    seconds: float

    def conclude(self, microseconds: float) -> None:
        """Writes the table of parts; `microseconds` is what one contract cost the mesh."""
        stacks = (self.folder / STACKS_FILE).read_text()
        text = parts_table(stacks, microseconds)
        (self.folder / TABLE_FILE).write_text(text)
        sys.stderr.write(text)


@asynccontextmanager
async def profiled(pid: int, folder: Path, seconds: float) -> AsyncIterator[Recorded]:
    """Records a process: first its stacks, then, as long again, a flame graph. Needs py-spy."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if program is None:
        message = "py-spy is not installed; it comes with the development environment"
        raise RuntimeError(message)
    each = max(1, round(seconds))
    async with asyncio.TaskGroup() as tasks:
        recording = tasks.create_task(_record(program, pid, folder, each))
        yield Recorded(folder, 2 * each + 2)
        await recording


async def _record(program: str, pid: int, folder: Path, seconds: int) -> None:
    for form, name in (("raw", STACKS_FILE), ("flamegraph", SVG_FILE)):
        process = await asyncio.create_subprocess_exec(
            *(program, "record", "--pid", str(pid), "--duration", str(seconds)),
            *("--rate", str(SAMPLES_PER_SECOND), "--format", form, "--nonblocking"),
            *("--threads", "--output", str(folder / name)),
            stdout=sys.stderr,
        )
        await process.wait()
