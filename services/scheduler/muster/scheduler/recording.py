"""Writes rows of `muster.model.records` that somebody waits for."""

from __future__ import annotations

from muster.model.records import Action, Row
from muster.scheduler.admission import moving
from muster.scheduler.service import Scheduler


async def record_row(
    scheduler: Scheduler, action: Action, table: str, row: Row, shard: int
) -> None:
    """Returns when the row is committed.

    Raises `Unavailable` where the shard is not owned here any more, for whoever has read what the
    row follows from has waited since then; and where the ledger takes nothing.
    """
    committer = scheduler.committer
    committer.require_room()
    if shard not in scheduler.generations:
        raise moving()
    committer.batch.record(action, table, list(row), shard)
    committer.batch.bytes += sum(len(each) for each in row if isinstance(each, bytes))
    committer.wake()
    await committer.barrier()
