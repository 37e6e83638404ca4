"""A disk that can be made to hang: no bug, but what brings some to light."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.ledger import Batch, CommitResult
from tests.faults.planted import put

LOOK_SECONDS = 0.02


def install() -> None:
    """No commit begins while the file STALLED_WHILE is there."""
    stalled = Path(os.environ["STALLED_WHILE"])
    commit = SqliteLedger.commit

    def wait() -> None:
        while stalled.exists():
            time.sleep(LOOK_SECONDS)

    async def when_it_goes(self: SqliteLedger, batch: Batch) -> CommitResult:
        await asyncio.to_thread(wait)
        return await commit(self, batch)

    put(SqliteLedger, "commit", when_it_goes)
