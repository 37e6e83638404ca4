"""Registers workflows, and starts runs of them."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from muster.model import limits
from muster.model.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Violation,
)
from muster.model.ids import shard_of_scope
from muster.model.records import Action
from muster.scheduler.admission import moving
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.children import deadline_of
from muster.scheduler.workflows.reading import Reading
from muster.scheduler.workflows.restoring import Restoring
from muster.scheduler.workflows.run import Run, RunRow, StartScope
from muster.scheduler.workflows.run_spans import trace_start
from muster.scheduler.workflows.runs import Runs
from muster.scheduler.workflows.versions import Version, Versions, version_of
from muster.v1.capability_pb2 import Capability
from muster.v1.payload_pb2 import Payload
from muster.v1.workflow_pb2 import Workflow
from muster.v1.workflow_run_pb2 import RunEvent, RunStarted
from muster.wire.keyed_locks import KeyedLocks
from muster.wire.times import timestamp_of_ms
from muster.workflow.checking import check_workflow

PROBLEMS_MAX = 50


def home_of(tenant: str, name: str) -> int:
    """The shard whose owner numbers the versions of a workflow."""
    return shard_of_scope(tenant, "", f"workflow:{name}")


class Asked(NamedTuple):
    """What somebody wants to start."""

    tenant: str
    principal: str
    start_id: str
    workflow: str
    version: int
    input: Payload
    engine: int
    conversation: str = ""
    forked_from: int = 0
    forked_step: str = ""

    @property
    def scope(self) -> StartScope:
        """What makes a second start the same run."""
        return (self.tenant, self.principal, self.start_id)

    @property
    def body_sha256(self) -> bytes:
        """Tells whether a resend is the same."""
        parts = (
            self.workflow,
            str(self.version),
            str(self.engine),
            self.conversation,
            str(self.forked_from),
            self.forked_step,
        )
        digest = hashlib.sha256("\0".join(parts).encode())
        digest.update(self.input.SerializeToString(deterministic=True))
        return digest.digest()


class Starting:
    """Makes versions and runs."""

    def __init__(
        self,
        scheduler: Scheduler,
        runs: Runs,
        versions: Versions,
        reading: Reading,
        restoring: Restoring,
        default_engine: int,
    ) -> None:
        self._scheduler = scheduler
        self._runs = runs
        self._versions = versions
        self._reading = reading
        self._restoring = restoring
        self._default_engine = default_engine
        # One at a time for each thing that is made: between a look at the ledger and what follows.
        self._alone = KeyedLocks()

    # --- workflows --------------------------------------------------------------------------------

    async def register(
        self, tenant: str, principal: str, workflow: Workflow, *, validate_only: bool
    ) -> tuple[Version, bool]:
        """Check a workflow and keep it. Returns its version, and whether that was there already.

        Raises `InvalidArgument` with every mistake. The caller waits for the commit.
        """
        await self._check(tenant, workflow)
        async with self._alone.hold((tenant, workflow.name)):
            raw = workflow.SerializeToString(deterministic=True)
            digest = hashlib.sha256(raw).digest()
            newest = await self._versions.find(tenant, workflow.name, 0)
            if newest is not None and newest.sha256 == digest:
                return newest, True
            number = newest.number + 1 if newest is not None else 1
            now_ms = self._scheduler.clock().wall_ms
            row = (tenant, workflow.name, number, principal, now_ms, digest, raw)
            version = version_of(row)
            if not validate_only:
                self._keep(version, row)
            return version, False

    def _keep(self, version: Version, row: tuple[object, ...]) -> None:
        shard = home_of(version.tenant, version.workflow.name)
        if shard not in self._scheduler.generations:
            raise moving()
        committer = self._scheduler.committer
        committer.require_room()
        committer.batch.record(Action.ADD, "workflows", row, shard)
        self._versions.add(version)
        self._scheduler.settle()

    async def _check(self, tenant: str, workflow: Workflow) -> None:
        """Raises where the workflow has mistakes."""
        wanted = {(s.capability.name, s.capability.version) for s in workflow.steps}
        wanted |= {
            (s.compensate.capability.name, s.compensate.capability.version) for s in workflow.steps
        }
        known = {key: await self._capability(tenant, *key) for key in wanted if key[0]}
        others = await self._others(tenant, workflow)
        problems = check_workflow(
            workflow,
            lambda name, version: known.get((name, version)),
            lambda name, version: others.get((name, version)),
        )
        if problems:
            first = problems[0]
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise InvalidArgument(
                f"workflow {workflow.name}: {first.path}: {first.message}{more}",
                reason="WORKFLOW_INVALID",
                violations=[Violation(p.path, p.message) for p in problems[:PROBLEMS_MAX]],
            )

    async def _capability(self, tenant: str, name: str, version: str) -> Capability | None:
        for _ in range(2):
            try:
                entry = self._scheduler.catalogue.resolve(tenant, name, version)[1]
            except NotFound:
                if not await self._scheduler.learn(tenant, name):
                    return None
            else:
                capability: Capability = entry.capability
                return capability
        return None

    async def _others(self, tenant: str, workflow: Workflow) -> dict[tuple[str, int], Workflow]:
        """Every workflow that this one reaches."""
        found: dict[tuple[str, int], Workflow] = {}
        left = [workflow]
        while left:
            for step in left.pop().steps:
                wanted = (step.workflow.name, step.workflow.version)
                if not wanted[0] or wanted in found:
                    continue
                version = await self._versions.find(tenant, *wanted)
                if version is not None:
                    found[wanted] = version.workflow
                    left.append(version.workflow)
        return found

    # --- runs -------------------------------------------------------------------------------------

    def shard_of(self, asked: Asked) -> int:
        """Where a run belongs: with the run that it is forked from, or where its scope says."""
        return shard_of_scope(*asked.scope)

    async def start(
        self, asked: Asked, started: RunStarted | None = None, *, exact: Version | None = None
    ) -> tuple[Run | RunRow, bool]:
        """Start a run, or find the one that was started by this id; the flag says which.

        Raises what is wrong with it. The caller waits for the commit.
        """
        shard = self.shard_of(asked)
        async with self._alone.hold(asked.scope):
            self._restoring.require(shard)
            known: Run | RunRow | None = self._runs.by_scope.get(asked.scope)
            if known is None:
                known = await self._reading.row_of_scope(asked.scope)
            if known is not None:
                return self._same(asked, known), True
            version = exact or await self._versions.get(asked.tenant, asked.workflow, asked.version)
            version.check_input(asked.input)
            self._restoring.require(shard)
            return self._begin(asked, version, shard, started or RunStarted()), False

    def start_known(self, asked: Asked, version: Version, shard: int) -> Run:
        """Start a run at once, of a version that is in memory, in this shard. Nothing may have been
        started by its id before. Raises as `start`; the caller settles."""
        self._restoring.require(shard)
        version.check_input(asked.input)
        return self._begin(asked, version, shard, RunStarted())

    def _same(self, asked: Asked, known: Run | RunRow) -> Run | RunRow:
        row = known.row if isinstance(known, Run) else known
        if row.body_sha256 != asked.body_sha256:
            raise AlreadyExists(
                f"start_id {asked.start_id!r} was used before for another start; send the same "
                "to find its run, or choose a new id"
            )
        return known

    def _begin(self, asked: Asked, version: Version, shard: int, started: RunStarted) -> Run:
        scheduler = self._scheduler
        scheduler.committer.require_room()
        engine = asked.engine or self._default_engine
        self._runs.engines[engine].require()
        if len(self._runs.open) >= limits.RUNS_OPEN_MAX:
            raise ResourceExhausted(
                f"{limits.RUNS_OPEN_MAX} runs are open; start again when some have ended",
                retry_after_seconds=limits.QUEUE_FULL_RETRY_SECONDS,
            )
        now_ms = scheduler.clock().wall_ms
        started.deadline.CopyFrom(timestamp_of_ms(deadline_of(version, now_ms)))
        trace_start(scheduler, started)
        row = RunRow(
            self._runs.new_id(shard, now_ms),
            asked.tenant,
            asked.principal,
            asked.start_id,
            asked.body_sha256,
            asked.workflow,
            version.number,
            engine,
            asked.conversation,
            0,
            "",
            0,
            0,
            asked.forked_from,
            asked.forked_step,
            now_ms,
            asked.input.SerializeToString(deterministic=True),
        )
        return self._runs.start(row, version, RunEvent(started=started))
