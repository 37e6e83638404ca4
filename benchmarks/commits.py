"""Samples what a commit of one row costs: `python -m benchmarks.commits FOLDER`.

One every tenth of a second, until SIGTERM, each with fsync, in a file of its own in FOLDER. Says a
line for each: monotonic seconds, and milliseconds.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import percentile
from benchmarks.processes import executing

PERIOD_SECONDS = 0.1


@dataclass
class Commits:
    """Samples so far: (monotonic seconds, milliseconds)."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    def percentile_ms(self, share: float, since: float = 0.0) -> float:
        """A percentile of the samples taken since; 0 when there are none."""
        values = [ms for at, ms in self.samples if at >= since]
        return percentile(values, share) if values else 0.0


@asynccontextmanager
async def sampled_commits(folder: Path) -> AsyncIterator[Commits]:
    """Samples while the block runs, on the disk that `folder` is on."""
    commits = Commits()
    command = (sys.executable, "-m", "benchmarks.commits", str(folder))
    async with (
        asyncio.TaskGroup() as tasks,
        executing("commits", *command, stdout=asyncio.subprocess.PIPE) as child,
    ):
        assert child.process.stdout is not None
        reading = tasks.create_task(_read(child.process.stdout, commits))
        try:
            yield commits
        finally:
            reading.cancel()


async def _read(stdout: asyncio.StreamReader, commits: Commits) -> None:
    async for line in stdout:
        at, ms = line.split()
        commits.samples.append((float(at), float(ms)))


def main() -> None:
    """Samples until it is ended."""
    path = Path(sys.argv[1]) / "commits.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS samples (at REAL)")
    while True:
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO samples VALUES (?)", (time.time(),))
        began = time.perf_counter()
        database.execute("COMMIT")
        ms = (time.perf_counter() - began) * 1000
        print(time.monotonic(), ms, flush=True)
        time.sleep(PERIOD_SECONDS)


if __name__ == "__main__":
    main()
