"""Runs that schedules start."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial

from muster.model.errors import NotFound
from muster.model.records import RowQuery
from muster.runtime.principal import Principal
from muster.scheduler.records import Now
from muster.scheduler.schedules.starting import StartOf, Told
from muster.scheduler.workflows.parts import Parts
from muster.scheduler.workflows.starting import Asked
from muster.scheduler.workflows.versions import Version
from muster.v1.response_pb2 import Failure
from muster.v1.schedule_pb2 import ScheduleAction
from muster.v1.workflow_run_pb2 import RunEvent, RunStarted, RunStopped
from muster.workflow.facts import RunState

READY_MAX = 10_000  # versions that were looked up for schedules; beyond it they are found anew


class RunStarts:
    """See `muster.scheduler.schedules.starting.Starts`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ready: dict[tuple[str, str, int], Version] = {}

    async def check(self, caller: Principal, action: ScheduleAction) -> None:
        """See `Starts.check`."""
        run = action.run
        version = await self._parts.versions.get(caller.tenant, run.workflow, run.version)
        version.check_input(run.input)

    async def get_ready(self, tenant: str, action: ScheduleAction) -> None:
        """See `Starts.get_ready`."""
        run = action.run
        version = await self._parts.versions.find(tenant, run.workflow, run.version)
        if version is not None:
            if len(self._ready) >= READY_MAX:
                self._ready.clear()
            self._ready[tenant, run.workflow, run.version] = version

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
        version = self._parts.versions.known(tenant, run.workflow, run.version)
        version = version or self._ready.get((tenant, run.workflow, run.version))
        if version is None:
            raise NotFound(
                f"there is no workflow {run.workflow}; register it, or change the schedule",
                reason="WORKFLOW_UNKNOWN",
            )
        version.check_input(run.input)
        self._parts.restoring.require(start.shard)
        asked = Asked(
            tenant,
            principal,
            start.id,
            run.workflow,
            run.version,
            run.input,
            run.engine,
            run.conversation_id,
        )
        started = self._parts.starting.begin(asked, version, start.shard, RunStarted())
        self._parts.runs.when_ended(started.id, partial(told.ended, started.id))
        return started.id

    async def open_among(self, targets: Collection[int]) -> set[int]:
        """See `Starts.open_among`."""
        if not targets:
            return set()
        query = RowQuery("workflow_heads", {"run_id": list(targets), "is_open": 1})
        return {row[0] for row in await self._parts.runs.scheduler.ledger.rows(query)}

    def listen(self, target: int, told: Told) -> None:
        """See `Starts.listen`."""
        if target in self._parts.runs.open:
            self._parts.runs.when_ended(target, partial(told.ended, target))
        else:
            asyncio.get_running_loop().call_soon(told.ended, target)

    def cancel(self, now: Now, tenant: str, target: int, reason: str) -> None:
        """See `Starts.cancel`."""
        run = self._parts.runs.open.get(target)
        if run is not None and run.machine.state is RunState.RUNNING:
            failure = Failure(code="CANCELLED", message=reason)
            self._parts.runs.append(run, RunEvent(stopped=RunStopped(failure=failure)))
