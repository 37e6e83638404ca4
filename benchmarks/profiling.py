"""Where the microseconds of a contract go: samples of the mesh process, sorted into parts.

py-spy looks at the process from outside, a few hundred times a second, and writes the stack of each
thread that runs. The innermost function that begins a part
decides.
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

# Part -> the functions that begin it, as py-spy writes them. What they call belongs to them, unless
# it begins another part.
COMMIT = "writer: COMMIT, most of it waiting for the disk"
PARTS: dict[str, tuple[str, ...]] = {
    COMMIT: ("Writer._transaction (",),
    "writer: rows": ("Writer._write (", "Writer.commit ("),
    "batches to the writer's thread and back": ("Committer._commit (",),
    "after the commit: telling submitters, sessions, watchers": ("Scheduler._on_commit (",),
    "queue and placement": ("Core.plan (",),
    "rows and events of what was decided": ("Applying.apply (",),
    "submit: payload against its schema": ("_json_check.<locals>.check (",),
    "submit": ("SubmitStream._read (", "Scheduler.submit ("),
    "reports": ("Links._read (", "SessionWords.apply ("),
    "sessions: frames from hosts": ("Pump._read (",),
    "sessions: frames to hosts": ("Pump.connect (",),
    "link between executor and scheduler": ("Link._relay (", "Links.link (", "Link._requests ("),
    "gRPC: parsing and validating messages": ("_Method._decode_each (",),
    "gRPC: writing messages": ("_Method.answer_many (",),
}
IDLE = "_worker ("  # a thread of a pool that waits for work
REST = "event loop, gRPC's threads and the rest"


def part_of(frames: Iterable[str]) -> str:
    """The part that a stack, outermost frame first, belongs to."""
    for frame in reversed(list(frames)):
        for part, beginnings in PARTS.items():
            if frame.startswith(beginnings):
                return part
    return REST


def parts(stacks: str) -> Counter[str]:
    """Samples by part, from collapsed stacks: "outer;…;inner count", one a line."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not frames[-1].startswith(IDLE):
            counts[part_of(frames)] += int(count)
    return counts


def parts_table(stacks: str, microseconds: float) -> str:
    """A line for each part, with its share of the µs of CPU that a contract costs.

    A thread that waits for the disk is sampled like one that works: commits are told apart.
    """
    counts = parts(stacks)
    waiting = counts.pop(COMMIT, 0)
    whole = counts.total() or 1
    lines = [
        f"{count / whole * microseconds:6.1f} µs  {count / whole:5.1%}  {part}"
        for part, count in counts.most_common()
    ]
    lines.append(f"{microseconds:6.1f} µs         the mesh, for one contract")
    lines.append(f"{waiting / (whole + waiting):9.1%} of all samples: {COMMIT}")
    return "\n".join(lines) + "\n"


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
