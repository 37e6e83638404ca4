"""Runs as the ledger has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from muster.backends.ledger_base import Ledger
from muster.model.errors import NotFound
from muster.model.ids import format_id
from muster.model.records import RowQuery
from muster.scheduler.workflows.run import Run, RunRow
from muster.scheduler.workflows.versions import Versions
from muster.v1.workflow_run_pb2 import RunEvent

EVENTS_PER_READ = 200  # with up to 64 KiB of output each
RUNS_PER_READ = 200


def run_unknown(name: str) -> NotFound:
    """There is no such run, or it is another tenant's: nobody can tell which."""
    return NotFound(
        f"there is no run {name}; list them with: muster workflow runs", reason="RUN_UNKNOWN"
    )


class Reading:
    """Reads runs and journals. Raises `MusterError` while the ledger is away."""

    def __init__(self, ledger: Ledger, versions: Versions) -> None:
        self._ledger = ledger
        self._versions = versions

    async def rows(self, ids: Collection[int]) -> dict[int, RunRow]:
        """What runs were started with."""
        found = await self._ledger.rows(RowQuery("workflow_runs", {"id": list(ids)}))
        return {row[0]: RunRow(*row) for row in found}

    async def row_of_scope(self, scope: tuple[str, str, str]) -> RunRow | None:
        """The run that was started by an id."""
        tenant, principal, start_id = scope
        equal = {"tenant": tenant, "principal": principal, "start_id": start_id}
        found = await self._ledger.rows(RowQuery("workflow_runs", equal, limit=1))
        return RunRow(*found[0]) if found else None

    async def run(self, run_id: int, tenant: str) -> Run:
        """A run of a tenant. Raises `NotFound`."""
        row = (await self.rows([run_id])).get(run_id)
        if row is None or row.tenant != tenant:
            raise run_unknown(format_id(run_id))
        return await self.of_row(row)

    async def of_row(self, row: RunRow) -> Run:
        """A run with all that its journal says."""
        run = Run(row, await self._versions.get(row.tenant, row.workflow, row.version))
        async for event in self.journal(row.id, 0):
            run.apply(event)
        return run

    async def journal(self, run_id: int, after: int) -> AsyncIterator[RunEvent]:
        """Entries after a sequence, in order."""
        while True:
            query = RowQuery(
                "workflow_journal",
                {"run_id": run_id},
                order=("sequence",),
                after=(after,),
                limit=EVENTS_PER_READ,
            )
            rows = await self._ledger.rows(query)
            for row in rows:
                yield RunEvent.FromString(row[3])
            if len(rows) < EVENTS_PER_READ:
                return
            after = rows[-1][1]

    async def open_runs(self, shards: Collection[int]) -> list[int]:
        """The runs of shards that have not ended, oldest first."""
        found: list[int] = []
        after: tuple[int, ...] | None = None
        while True:
            query = RowQuery(
                "workflow_heads",
                {"is_open": 1, "shard": list(shards)},
                order=("run_id",),
                after=after,
                limit=RUNS_PER_READ,
            )
            rows = await self._ledger.rows(query)
            found += [row[0] for row in rows]
            if len(rows) < RUNS_PER_READ:
                return found
            after = (rows[-1][0],)
