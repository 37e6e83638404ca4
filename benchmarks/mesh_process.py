"""The mesh process of a measurement: `python -m benchmarks.mesh_process [COMMIT_DELAY_MS]`.

It is `python -m muster.allinone`, but that every commit of the ledger may be made to take longer,
as on a slow disk.
"""

from __future__ import annotations

import sys
import time

from muster.allinone.__main__ import build
from muster.backends.sqlite.writer import Writer
from muster.model.ledger import Batch, CommitResult
from muster.runtime.config import Role
from muster.runtime.entry import run_process


def slow_down_commits(seconds: float) -> None:
    """Makes the thread that commits wait, before it says that a batch is durable."""
    commit = Writer.commit

    def slow(self: Writer, batch: Batch) -> CommitResult:
        result = commit(self, batch)
        time.sleep(seconds)
        return result

    Writer.commit = slow  # type: ignore[method-assign]


if __name__ == "__main__":
    if len(sys.argv) > 1 and float(sys.argv[1]) > 0:
        slow_down_commits(float(sys.argv[1]) / 1000)
    sys.exit(run_process(Role.ALL, build))
