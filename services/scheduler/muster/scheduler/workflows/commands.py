"""What people and programs tell runs: signals, cancels, pauses, retries, forks."""

from __future__ import annotations

from muster.model import limits
from muster.model.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, Violation
from muster.model.ids import shard_of_id
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.children import deadline_of
from muster.scheduler.workflows.reading import Reading, run_unknown
from muster.scheduler.workflows.restoring import Restoring
from muster.scheduler.workflows.run import Run, RunRow
from muster.scheduler.workflows.runs import Runs
from muster.scheduler.workflows.starting import Asked, Starting
from muster.v1.payload_pb2 import Payload
from muster.v1.response_pb2 import Failure
from muster.v1.workflow_run_pb2 import (
    STEP_STATE_SUCCEEDED,
    ItemEnded,
    KeptStep,
    RunEvent,
    RunPaused,
    RunResumed,
    RunRetried,
    RunSignalled,
    RunStarted,
    RunStopped,
    StepBegun,
)
from muster.wire.times import timestamp_of_ms
from muster.workflow.facts import RunState, StepState


class Commands:
    """Each adds an entry to a journal; the caller waits for the commit."""

    def __init__(
        self,
        scheduler: Scheduler,
        runs: Runs,
        reading: Reading,
        restoring: Restoring,
        starting: Starting,
    ) -> None:
        self._scheduler = scheduler
        self._runs = runs
        self._reading = reading
        self._restoring = restoring
        self._starting = starting

    async def find(self, run_id: int, tenant: str) -> Run:
        """A run, open or ended. Raises `NotFound`."""
        self._restoring.require(shard_of_id(run_id))
        run = self._runs.find(run_id)
        if run is None or run.machine.is_over:
            # What has just ended is in the ledger when what is pending is committed.
            await self._scheduler.committer.barrier()
            run = self._runs.find(run_id) or await self._reading.run(run_id, tenant)
        if run.row.tenant != tenant:
            raise run_unknown(run.name)
        return run

    async def _open(self, run_id: int, tenant: str, what: str) -> Run:
        run = await self.find(run_id, tenant)
        self._require_open(run, what)
        return run

    def _require_open(self, run: Run, what: str) -> None:
        if run.machine.is_over:
            raise FailedPrecondition(
                f"run {run.name} has ended ({run.machine.state.name}); there is nothing to {what}",
                reason="RUN_STATE",
            )
        self._scheduler.committer.require_room()

    def _append(self, run: Run, event: RunEvent) -> None:
        self._runs.append(run, event)
        self._scheduler.settle()

    async def signal(self, run_id: int, tenant: str, signal: RunSignalled) -> int:
        """Send a signal; returns the sequence of its entry."""
        # What was recorded may have ended the run before whoever sent it heard of that.
        run = await self.find(run_id, tenant)
        known = run.signal_sequence(signal.signal_id)
        if known:
            return known
        self._require_open(run, "signal")
        if run.signals_waiting >= limits.RUN_SIGNALS_WAITING_MAX:
            raise ResourceExhausted(
                f"{limits.RUN_SIGNALS_WAITING_MAX} signals wait for run {run.name}; send more "
                "when steps have taken some",
                retry_after_seconds=limits.QUEUE_FULL_RETRY_SECONDS,
            )
        self._append(run, RunEvent(signalled=signal))
        return run.machine.sequence

    async def cancel(self, run_id: int, tenant: str, principal: str, reason: str) -> RunState:
        """Cancel a run; returns where it is then."""
        run = await self.find(run_id, tenant)
        if run.machine.state is RunState.CANCELLED or run.machine.cancelled:
            return run.machine.state
        self._require_open(run, "cancel")
        if run.machine.state is RunState.RUNNING:
            failure = Failure(code="CANCELLED", message=reason or "the run was cancelled")
            stopped = RunStopped(failure=failure, principal=principal)
            self._append(run, RunEvent(stopped=stopped))
        return run.machine.state

    async def pause(self, run_id: int, tenant: str, principal: str) -> None:
        """Let nothing new begin."""
        run = await self._open(run_id, tenant, "pause")
        if not run.machine.paused:
            self._append(run, RunEvent(paused=RunPaused(principal=principal)))

    async def resume(self, run_id: int, tenant: str, principal: str) -> None:
        """End a pause."""
        run = await self._open(run_id, tenant, "resume")
        if run.machine.paused:
            self._append(run, RunEvent(resumed=RunResumed(principal=principal)))

    async def retry(
        self, run_id: int, tenant: str, principal: str, step: str, after: int | None
    ) -> int:
        """Have a run tried again from a step on, or find that the retry after a revision has been
        made; returns its revision."""
        run = await self.find(run_id, tenant)
        self._require_step(run, step)
        if after is not None and run.machine.revision == after + 1:
            return run.machine.revision
        why_not = run.machine.why_not_retry(step)
        if why_not:
            raise FailedPrecondition(f"run {run.name}: {why_not}", reason="RUN_STATE")
        if run.row.parent_id:
            raise FailedPrecondition(
                f"run {run.name} is a step of another one; retry that", reason="RUN_STATE"
            )
        self._scheduler.committer.require_room()
        self._restoring.require(run.shard)
        if run.id in self._runs.open:  # somebody else was faster
            raise FailedPrecondition(f"run {run.name} goes on already", reason="RUN_STATE")
        now_ms = self._scheduler.clock().wall_ms
        retried = RunRetried(step=step, revision=run.machine.revision + 1, principal=principal)
        retried.deadline.CopyFrom(timestamp_of_ms(deadline_of(run.version, now_ms)))
        run.generation = self._scheduler.generations[run.shard]
        self._runs.hold(run)
        self._append(run, RunEvent(retried=retried))
        return run.machine.revision

    async def fork(
        self,
        run_id: int,
        caller: tuple[str, str],
        step: str,
        start_id: str,
        given: Payload | None,
        engine: int,
    ) -> tuple[Run | RunRow, bool]:
        """Start a run that has what this one has, but for a step and all that follows. The new
        one's shard is owned; of one that another scheduler has, what is in the ledger counts."""
        if self._restoring.has(shard_of_id(run_id)):
            run = await self.find(run_id, caller[0])
        else:
            run = await self._reading.run(run_id, caller[0])
        self._require_step(run, step)
        started = RunStarted()
        kept = run.machine.kept_in_fork(step)
        for name in sorted(kept, key=lambda name: run.machine.steps[name].order):
            started.kept.append(_kept(run, name))
        asked = Asked(
            *caller,
            start_id,
            run.row.workflow,
            run.row.version,
            given if given is not None else run.input,
            engine or run.row.engine,
            run.row.conversation,
            run.id,
            step,
        )
        return await self._starting.start(asked, started, exact=run.version)

    def _require_step(self, run: Run, step: str) -> None:
        if step and step not in run.machine.steps:
            message = (
                f"workflow {run.row.workflow} has no step {step!r}; it has "
                f"{', '.join(run.machine.steps)}"
            )
            raise InvalidArgument(message, violations=[Violation("step", message)])


def _kept(run: Run, name: str) -> KeptStep:
    """A step as it ended, for the journal of another run."""
    step = run.machine.steps[name]
    begun = StepBegun(
        step=name,
        items=step.items,
        skipped=step.state is StepState.SKIPPED,
    )
    if step.could_not_begin:
        begun.failure.CopyFrom(run.failures[name])
    kept = KeptStep(begun=begun)
    for index, state in sorted(step.ended.items()):
        item = run.items.get((name, index))
        ended = ItemEnded(step=name, index=index, state=int(state))  # type: ignore[arg-type]
        if item is not None:
            if item.output is not None and ended.state == STEP_STATE_SUCCEEDED:
                ended.output.CopyFrom(item.output)
            if item.failure is not None:
                ended.failure.CopyFrom(item.failure)
            if item.contract_id:
                ended.contract_id = f"{item.contract_id:016x}"
            if item.run_id:
                ended.run_id = f"{item.run_id:016x}"
        kept.items.append(ended)
    return kept
