"""Steps as runs of other workflows: in the same shard, with the same owner as their parents."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial

from muster.model import limits
from muster.model.errors import ResourceExhausted
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.contracts import request_id_of
from muster.scheduler.workflows.run import Run, RunRow
from muster.scheduler.workflows.run_spans import trace_within
from muster.scheduler.workflows.runs import Runs
from muster.scheduler.workflows.versions import Version, Versions
from muster.v1.payload_pb2 import Payload
from muster.v1.response_pb2 import Failure
from muster.v1.workflow_run_pb2 import RunEvent, RunStarted, RunStopped
from muster.wire.times import ms_of_duration, timestamp_of_ms

NotYet = Callable[[Callable[[], Awaitable[None]]], Exception]


def deadline_of(version: Version, started_ms: int, latest_ms: int = 0) -> int:
    """When a run's time is over, in Unix milliseconds."""
    longest = int(limits.RUN_SECONDS_MAX * 1000)
    if version.workflow.HasField("timeout"):
        longest = min(longest, ms_of_duration(version.workflow.timeout))
    return min(started_ms + longest, latest_ms) if latest_ms else started_ms + longest


class Children:
    """Starts and stops them."""

    def __init__(self, scheduler: Scheduler, runs: Runs, versions: Versions) -> None:
        self._scheduler = scheduler
        self._runs = runs
        self._versions = versions

    def start(self, run: Run, name: str, index: int, payload: Payload, not_yet: NotYet) -> None:
        """Start an item's run. Raises what starting raises, and `not_yet` until its workflow is in
        memory."""
        step, row = run.version.steps[name], run.row
        wanted = step.workflow
        version = self._versions.known(row.tenant, wanted.name, wanted.version)
        if version is None:
            version = run.version.children.get(name)
            if version is None:
                raise not_yet(partial(self._learn, run, name))
        run.version.children.pop(name, None)
        version.check_input(payload)
        self._check_depth(run)
        now_ms = self._scheduler.clock().wall_ms
        latest_ms = run.deadline_ms
        if step.HasField("timeout"):
            latest_ms = min(latest_ms, now_ms + ms_of_duration(step.timeout))
        raw = payload.SerializeToString(deterministic=True)
        child = RunRow(
            self._runs.new_id(run.shard, now_ms),
            row.tenant,
            row.principal,
            request_id_of(run, name, index),
            hashlib.sha256(raw).digest(),
            wanted.name,
            version.number,
            row.engine,
            row.conversation,
            run.id,
            name,
            index,
            run.machine.steps[name].revision,
            0,
            "",
            now_ms,
            raw,
        )
        started = RunStarted()
        started.deadline.CopyFrom(timestamp_of_ms(deadline_of(version, now_ms, latest_ms)))
        trace_within(self._scheduler, run, started.trace_context)
        run.item((name, index)).run_id = child.id
        self._runs.start(child, version, RunEvent(started=started))

    async def _learn(self, run: Run, name: str) -> None:
        wanted = run.version.steps[name].workflow
        version = await self._versions.get(run.row.tenant, wanted.name, wanted.version)
        # Where others may register a newer one, what was just read counts, once.
        run.version.children[name] = version

    def _check_depth(self, run: Run) -> None:
        depth, above = 1, self._runs.open.get(run.row.parent_id)
        while above is not None:
            depth, above = depth + 1, self._runs.open.get(above.row.parent_id)
        if depth > limits.RUN_DEPTH_MAX:
            raise ResourceExhausted(
                f"runs within runs are at most {limits.RUN_DEPTH_MAX} levels deep",
                reason="TREE_LIMIT",
            )

    def stop(self, run: Run, name: str, index: int) -> None:
        """Cancel an item's run. Where it has ended, its parent has been told."""
        child = self._runs.open.get(run.item((name, index)).run_id)
        if child is not None:
            failure = Failure(
                code="PARENT_ENDED", message="the run that it is a step of needs it no more"
            )
            self._runs.append(child, RunEvent(stopped=RunStopped(failure=failure)))

    def find(self, run: Run, name: str, index: int) -> bool:
        """After a restart: find the open run that an item has, if it has one. One that has ended
        has told its parent in the same commit."""
        scope = (run.row.tenant, run.row.principal, request_id_of(run, name, index))
        child = self._runs.by_scope.get(scope)
        if child is not None:
            run.item((name, index)).run_id = child.id
        return child is not None
