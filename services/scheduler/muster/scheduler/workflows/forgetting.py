"""Forgets runs whose retention is over, a few at a time."""

from __future__ import annotations

import asyncio

from muster.model import limits
from muster.model.errors import MusterError
from muster.model.records import Action, RowQuery
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.runs import Runs

RUNS_PER_READ = 100
TABLES = ("answers", "questions", "workflow_journal", "workflow_heads", "workflow_runs")


async def forget_runs(scheduler: Scheduler, runs: Runs, retention_seconds: float) -> None:
    """Without end. What a run gave back is in its journal, which goes with it."""
    while True:
        try:
            more = await forget_some(scheduler, runs, retention_seconds)
        except MusterError:
            more = False
        if not more:
            await asyncio.sleep(limits.RETENTION_SWEEP_SECONDS)


async def forget_some(scheduler: Scheduler, runs: Runs, retention_seconds: float) -> bool:
    """Forget the oldest, where they are old enough. Returns whether there may be more."""
    before_ms = scheduler.clock().wall_ms - int(retention_seconds * 1000)
    query = RowQuery(
        "workflow_heads", {"is_open": 0}, order=("ended_ms", "run_id"), limit=RUNS_PER_READ
    )
    heads = await scheduler.ledger.rows(query)
    old = [head for head in heads if head[9] < before_ms]
    mine = [x for x in old if x[1] in scheduler.generations and x[0] not in runs.open]
    batch = scheduler.committer.batch
    for number, shard, *_ in mine:
        for table in TABLES:
            batch.record(Action.DELETE, table, (number,), shard)
    scheduler.settle()
    await scheduler.committer.barrier()
    return len(old) == RUNS_PER_READ and bool(mine)
