"""Ticks that start runs of workflows."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from muster.model import limits
from muster.model.errors import MusterError, Unavailable, Unimplemented
from muster.model.records import RowQuery
from muster.runtime.principal import Principal
from muster.scheduler.records import Now
from muster.scheduler.schedules.starting import StartOf, Told
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.parts import Parts
from muster.scheduler.workflows.starting import Asked
from muster.scheduler.workflows.versions import Version
from muster.v1.response_pb2 import Failure
from muster.v1.schedule_pb2 import RunAction, ScheduleAction
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, RUN_STATE_RUNNING, RunEvent, RunStopped

_Wanted = tuple[str, str, int]  # tenant, workflow, version or 0


class RunStarts:
    """Starts runs."""

    def __init__(self, scheduler: Scheduler, parts: Parts) -> None:
        self._scheduler = scheduler
        self._parts = parts
        # Versions as they were when a tick was about to start them; the newest may change.
        self._ready: dict[_Wanted, Version] = {}

    async def check(self, caller: Principal, action: ScheduleAction) -> None:
        """See `Starts.check`."""
        run = action.run
        self._require_engine(run)
        version = await self._parts.versions.get(caller.tenant, run.workflow, run.version)
        version.check_input(run.input)

    async def get_ready(self, tenant: str, action: ScheduleAction) -> None:
        """See `Starts.get_ready`."""
        wanted = _wanted(tenant, action.run)
        if len(self._ready) > limits.SCHEDULES_MAX:
            self._ready.clear()
        found = await self._parts.versions.find(*wanted)
        if found is not None:
            self._ready[wanted] = found

    def start(
        self,
        now: Now,
        tenant: str,
        principal: str,
        action: ScheduleAction,
        start: StartOf,
        told: Told,
    ) -> int:
        """See `Starts.start`."""
        run = action.run
        self._require_engine(run)
        version = self._ready.get(_wanted(tenant, run))
        if version is None:
            raise Unavailable(f"workflow {run.workflow} has not been read yet; try again")
        asked = Asked(
            tenant,
            principal,
            # Runs are found by their start_id for ever, and a schedule's name may come again.
            f"{start.id}@{start.made_ms}",
            run.workflow,
            run.version,
            run.input,
            run.engine,
            run.conversation_id,
        )
        target = self._parts.starting.start_known(asked, version, start.shard).id
        self._parts.runs.ends[target] = told.ended
        return target

    async def open_among(self, targets: Collection[int]) -> set[int]:
        """See `Starts.open_among`."""
        if not targets:
            return set()
        query = RowQuery("workflow_heads", {"run_id": sorted(targets), "is_open": 1})
        return {row[0] for row in await self._scheduler.ledger.rows(query)}

    def listen(self, target: int, told: Told) -> None:
        """See `Starts.listen`. Until open runs have been read, none of them can end."""
        self._parts.runs.ends[target] = told.ended
        if self._parts.restoring.has_run_of(target) and target not in self._parts.runs.open:
            del self._parts.runs.ends[target]
            told.ended(target)

    def cancel(self, now: Now, tenant: str, target: int, reason: str) -> None:
        """See `Starts.cancel`."""
        run = self._parts.runs.open.get(target)
        if run is not None and int(run.machine.state) == RUN_STATE_RUNNING:
            stopped = RunStopped(failure=Failure(code="CANCELLED", message=reason))
            with suppress(MusterError):
                self._parts.runs.append(run, RunEvent(stopped=stopped))

    def _require_engine(self, run: RunAction) -> None:
        engine = run.engine or ENGINE_KIND_LOCAL
        if engine not in self._parts.runs.engines:
            raise Unimplemented("this mesh does not run workflows on that engine; leave it out")


def _wanted(tenant: str, run: RunAction) -> _Wanted:
    return (tenant, run.workflow, run.version)
