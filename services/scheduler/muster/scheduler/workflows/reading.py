"""Runs as the ledger has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from itertools import groupby

from muster.backends.ledger_base import Ledger
from muster.model.errors import NotFound
from muster.model.ids import format_id
from muster.model.records import RowQuery
from muster.runtime.together import Together
from muster.scheduler.workflows.run import Run, RunRow, StartScope
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
    """Reads runs and journals, while `look_up` runs. Raises `MusterError` while the ledger is
    away."""

    def __init__(self, ledger: Ledger, versions: Versions) -> None:
        self._ledger = ledger
        self._versions = versions
        self._by_scope: Together[StartScope, RunRow] = Together(self._rows_of_scopes, RUNS_PER_READ)
        self.look_up = self._by_scope.run

    async def rows(self, ids: Collection[int]) -> dict[int, RunRow]:
        """What runs were started with."""
        found = await self._ledger.rows(RowQuery("workflow_runs", {"id": list(ids)}))
        return {row[0]: RunRow(*row) for row in found}

    async def row_of_scope(self, scope: StartScope) -> RunRow | None:
        """The run that was started by an id."""
        return await self._by_scope.get(scope)

    async def _rows_of_scopes(self, scopes: Sequence[StartScope]) -> Mapping[StartScope, RunRow]:
        found: dict[StartScope, RunRow] = {}
        for (tenant, principal), those in groupby(sorted(scopes), lambda scope: scope[:2]):
            ids = [start_id for _, _, start_id in those]
            equal = {"tenant": tenant, "principal": principal, "start_id": ids}
            for values in await self._ledger.rows(RowQuery("workflow_runs", equal)):
                row = RunRow(*values)
                found[row.scope] = row
        return found

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
