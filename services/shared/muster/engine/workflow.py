"""A run as a workflow of Temporal.

    load ──▶ fold ──▶ what is wanted? ──▶ perform ──▶ fold … until nothing is wanted
              ▲                                          │
              └──────── signal: entries, a timer ◀───────┘ wait

`load` and `perform` are local activities: they take milliseconds, they may be done any number of
times, and what a run's step costs is so one signal, one workflow task, and two markers. Nothing is
carried over when the history becomes long: the journal is loaded again.

Everything here must do the same when it is replayed: no clock but the workflow's, no randomness, no
I/O. Recorded histories are replayed in tests (tests/unit/engine/histories).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from muster.engine.folding import Folding
    from muster.engine.naming import LOAD, PERFORM, RUN, SIGNAL, STATE, workflow_id
    from muster.model import limits
    from muster.v1.engine_pb2 import ChildRun, RunEntries
    from muster.v1.engine_service_pb2 import (
        LoadRunRequest,
        LoadRunResponse,
        PerformWantsRequest,
        PerformWantsResponse,
    )
    from muster.wire.times import seconds_of_duration
    from muster.workflow.exchange import message_of_want
    from muster.workflow.facts import RunState, Want

# For ever: a scheduler that is away comes back. Beyond the threshold Temporal keeps the time, so
# that a worker's slot is not held by waiting.
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=0.2),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=5),
)
_THRESHOLD = timedelta(seconds=1)
_TIMEOUT = timedelta(seconds=30)


@workflow.defn(name=RUN)
class RunWorkflow:
    """One run, until it has ended. Its only argument is the run's id."""

    @workflow.init
    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._folding = Folding()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_ms = 0
        self._rung = False  # an instant has come
        self._again = False  # what could not be done may be tried again
        self._children: set[str] = set()  # runs that were started from here
        self._cancel_reason = ""  # somebody cancelled it in Temporal, and nobody was told yet

    @workflow.signal(name=SIGNAL)
    def entries(self, raw: bytes) -> None:
        """Entries of the journal have been committed."""
        self._folding.take(RunEntries.FromString(raw))

    @workflow.query(name=STATE)
    def state(self) -> dict[str, object]:
        """Where the run is, for people."""
        machine = self._folding.machine
        return {
            "run": self._run_id,
            "state": machine.state.name,
            "sequence": machine.sequence,
            "revision": machine.revision,
            "paused": machine.paused,
            "steps": {name: step.state.name for name, step in machine.steps.items()},
            "items": {name: sorted(step.open) for name, step in machine.steps.items() if step.open},
        }

    @workflow.run
    async def run(self, run_id: str) -> str:
        """Returns SUCCEEDED; raises what else came of it."""
        while True:
            try:
                await self._live()
                return self._outcome()
            except asyncio.CancelledError:
                reason = workflow.cancellation_reason()
                if self._folding.is_over() or reason is None:
                    raise
                self._cancel_reason = reason or "cancelled in Temporal"
                self._folding.want_all()  # what was being asked for, nobody heard the answer of

    def _outcome(self) -> str:
        state, failure = self._folding.machine.state, self._folding.failure
        if state is RunState.SUCCEEDED:
            return state.name
        if state is RunState.CANCELLED and workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        code = failure.code if failure is not None else state.name
        message = failure.message if failure is not None else "the run has not succeeded"
        raise ApplicationError(message, type=code, non_retryable=True)

    # --- the loop ---------------------------------------------------------------------------------

    async def _live(self) -> None:
        if not self._folding.begun:
            await self._catch_up()
            self._folding.want_all()
        while True:
            await self._follow()
            if self._folding.is_over():
                return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._run_id)
            await workflow.wait_condition(self._has_news)

    def _has_news(self) -> bool:
        return self._folding.has_news() or self._rung or self._again

    async def _follow(self) -> None:
        """Until nothing is wanted that has not been asked for."""
        folding = self._folding
        while True:
            await self._catch_up()
            if folding.is_over():
                return
            if self._again:
                self._again = False
                folding.want_all()
            elif self._rung:
                folding.wake()
            self._rung = False
            wants = folding.wants(_now_ms())
            self._set_alarm()
            if not wants and not self._cancel_reason:
                return
            await self._perform(wants)

    def _set_alarm(self) -> None:
        """One timer is enough: for the earliest instant. One that nobody waits for any more may
        ring all the same, which costs less than to take it back."""
        wake_ms = self._folding.wake_ms
        if not wake_ms or (self._alarm is not None and self._alarm_ms <= wake_ms):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        loop, delay = asyncio.get_running_loop(), max(0.001, (wake_ms - _now_ms()) / 1000)
        self._alarm, self._alarm_ms = loop.call_later(delay, self._ring), wake_ms

    def _ring(self) -> None:
        self._alarm, self._rung = None, True

    def _try_again(self) -> None:
        self._again = True

    # --- what is asked of the scheduler -----------------------------------------------------------

    async def _catch_up(self) -> None:
        """Fold all there is; what has not come is loaded."""
        folding = self._folding
        folding.fold()
        while folding.lacks():
            before = folding.machine.sequence
            await self._load()
            folding.fold()
            if folding.machine.sequence == before:
                folding.known = before  # there is no more, whoever spoke of it

    async def _load(self) -> None:
        folding = self._folding
        after = folding.machine.sequence if folding.begun else 0
        request = LoadRunRequest(run_id=self._run_id, after_sequence=after)
        raw = await _call(LOAD, request.SerializeToString(), f"entries after {after}")
        reply = LoadRunResponse.FromString(raw)
        if not folding.begun:
            folding.begin(reply.flow)
        folding.take(reply.entries)

    async def _perform(self, wants: list[Want]) -> None:
        folding = self._folding
        pauses: list[float] = []
        children: list[ChildRun] = []
        for first in range(0, max(1, len(wants)), limits.ENGINE_WANTS_MAX):
            part = wants[first : first + limits.ENGINE_WANTS_MAX]
            request = PerformWantsRequest(
                run_id=self._run_id,
                wants=[message_of_want(want) for want in part],
                after_sequence=folding.machine.sequence,
                cancel_reason=self._cancel_reason,
            )
            raw = await _call(PERFORM, request.SerializeToString(), _words(part))
            self._cancel_reason = ""
            reply = PerformWantsResponse.FromString(raw)
            folding.take(reply.entries)
            children += [each for each in reply.children if each.run_id not in self._children]
            if reply.HasField("retry_delay"):
                pauses.append(seconds_of_duration(reply.retry_delay))
        if pauses:
            asyncio.get_running_loop().call_later(max(0.001, min(pauses)), self._try_again)
        if children:
            self._children.update(each.run_id for each in children)
            await asyncio.gather(*(_start_child(each) for each in children))


async def _call(name: str, request: bytes, words: str) -> bytes:
    raw: bytes = await workflow.execute_local_activity(
        name,
        request,
        result_type=bytes,
        start_to_close_timeout=_TIMEOUT,
        retry_policy=_RETRY,
        local_retry_threshold=_THRESHOLD,
        summary=words,
    )
    return raw


async def _start_child(child: ChildRun) -> None:
    """Let a run that the scheduler has made be a child of this one in Temporal, too. What becomes
    of it the journal says."""
    try:
        handle = await workflow.start_child_workflow(
            RUN,
            child.run_id,
            id=workflow_id(child.run_id),
            result_type=str,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
        )
    except WorkflowAlreadyStartedError:
        return  # an entry of its journal was faster
    handle.add_done_callback(_ignore)


def _ignore(handle: asyncio.Task[str]) -> None:
    if not handle.cancelled():
        handle.exception()


def _now_ms() -> int:
    return int(workflow.time() * 1000)


def _words(wants: list[Want]) -> str:
    """What is asked for, for people who look at it in Temporal."""
    said = ", ".join(f"{type(want).__name__.lower()} {getattr(want, 'step', '')}" for want in wants)
    return said[: limits.ENGINE_SUMMARY_CHARS_MAX]
