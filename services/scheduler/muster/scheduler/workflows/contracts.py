"""Steps as contracts: submitted in their run's name, and listened to."""

from __future__ import annotations

from contextlib import suppress

from muster.failpoints import failpoint
from muster.model import limits
from muster.model.errors import ContractUnknown, FailedPrecondition, MusterError
from muster.model.states import ContractState
from muster.scheduler.messages_in import contract_of
from muster.scheduler.records import Contract, Now
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.run import UNDO, Run
from muster.scheduler.workflows.run_spans import trace_within
from muster.scheduler.workflows.runs import Runs
from muster.v1.payload_pb2 import Payload
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response
from muster.v1.workflow_run_pb2 import (
    STEP_STATE_CANCELLED,
    STEP_STATE_FAILED,
    STEP_STATE_SUCCEEDED,
    ItemEnded,
)
from muster.wire.times import ms_of_duration, timestamp_of_ms

LABEL_RUN = "muster.run"
LABEL_STEP = "muster.step"


def request_id_of(run: Run, step: str, index: int) -> str:
    """The id of a step's contract: clients' ids have no "/", so it is nobody else's."""
    revision = run.machine.steps[step].revision
    return f"{run.name}/{step}/{'undo' if index == UNDO else index}/{revision}"


class ItemListener:
    """Waits for the end of one item's contract."""

    __slots__ = ("_index", "_revision", "_run", "_runs", "_step")

    def __init__(self, runs: Runs, run: Run, step: str, index: int) -> None:
        self._runs = runs
        self._run = run
        self._step = step
        self._index = index
        self._revision = run.machine.steps[step].revision

    def on_accepted(self, request_id: str, contract_id: int, *, duplicate: bool) -> None:
        """It is durable."""
        self._run.item((self._step, self._index)).contract_id = contract_id

    def on_refused(self, request_id: str, error: MusterError) -> None:
        """Its id is taken by something else, which only a defect can bring about."""
        ended = self._ended()
        ended.state = STEP_STATE_FAILED
        ended.failure.code, ended.failure.message = error.reason, error.message
        self._runs.item_ended(self._run, ended)

    @failpoint("run_item_unrecorded")
    def on_ended(self, contract_id: int, response: Response) -> None:
        """Its response is durable."""
        ended = self._ended()
        ended.contract_id = response.contract_id
        state = ContractState(response.state)
        if state is ContractState.SUCCEEDED:
            ended.state = STEP_STATE_SUCCEEDED
            ended.output.CopyFrom(response.payload)
        else:
            cancelled = state is ContractState.CANCELLED
            ended.state = STEP_STATE_CANCELLED if cancelled else STEP_STATE_FAILED
            ended.failure.CopyFrom(response.failure)
        self._runs.item_ended(self._run, ended)

    def on_moved(self, error: MusterError) -> None:
        """Another scheduler has the contract, and the run with it."""

    def _ended(self) -> ItemEnded:
        undo = self._index == UNDO
        return ItemEnded(
            step=self._step,
            revision=self._revision,
            index=0 if undo else self._index,
            compensation=undo,
        )


class Contracts:
    """Submits and cancels them."""

    def __init__(self, scheduler: Scheduler, runs: Runs) -> None:
        self._scheduler = scheduler
        self._runs = runs

    @failpoint("run_step_unsubmitted")
    def submit(self, run: Run, step: str, index: int, payload: Payload) -> None:
        """Have an item done, or with UNDO the step undone. Raises what a submission raises."""
        scheduler, row = self._scheduler, run.row
        scheduler.committer.require_room()
        now = scheduler.clock()
        request = self._request(now, run, step, index, payload)
        wanted = request.capability
        selector, check_payload = scheduler.route(row.tenant, wanted.name, wanted.version)
        check_payload(payload)
        made: Contract = contract_of(
            request, row.tenant, row.principal, selector, now.wall_ms, None
        )
        made.home = run.shard
        contract = scheduler.accept(now, made, ItemListener(self._runs, run, step, index))
        run.item((step, index)).contract_id = contract.id

    def _request(self, now: Now, run: Run, name: str, index: int, payload: Payload) -> Request:
        step = run.version.steps[name]
        request = Request(
            request_id=request_id_of(run, name, index), conversation_id=run.row.conversation
        )
        request.payload.CopyFrom(payload)
        request.labels[LABEL_RUN] = run.name
        request.labels[LABEL_STEP] = name
        trace_within(self._scheduler, run, request.trace_context)
        latest_ms = now.wall_ms + int(limits.DEADLINE_MAX_SECONDS * 1000)
        if index == UNDO:
            request.capability.CopyFrom(step.compensate.capability)
            # The run's own time may be over, and what was done is to be undone all the same.
            request.deadline.CopyFrom(
                timestamp_of_ms(now.wall_ms + int(limits.DEADLINE_DEFAULT_SECONDS * 1000))
            )
            return request
        request.capability.CopyFrom(step.capability)
        deadline_ms = min(run.deadline_ms or latest_ms, latest_ms)
        if step.HasField("timeout"):
            deadline_ms = min(deadline_ms, now.wall_ms + ms_of_duration(step.timeout))
        request.deadline.CopyFrom(timestamp_of_ms(deadline_ms))
        if step.HasField("attempt_timeout"):
            request.timeouts.start_to_close.CopyFrom(step.attempt_timeout)
        if step.HasField("retry"):
            request.retry_policy.CopyFrom(step.retry)
        return request

    def cancel(self, run: Run, step: str, index: int) -> None:
        """Cancel an item's contract. Where it has ended, that has been told or will be."""
        number = run.item((step, index)).contract_id
        now, core = self._scheduler.clock(), self._scheduler.core
        with suppress(ContractUnknown, FailedPrecondition):
            core.cancel(now, number, run.row.tenant, "the run did not need it any more")

    async def find(self, run: Run, step: str, index: int) -> bool:
        """After a restart: find the contract that an item has, if it has one, and wait for its end.
        Raises while the ledger is away."""
        scheduler, row = self._scheduler, run.row
        scope = (row.tenant, row.principal, request_id_of(run, step, index))
        listener = ItemListener(self._runs, run, step, index)
        open_one = scheduler.core.by_scope.get(scope)
        if open_one is not None:
            run.item((step, index)).contract_id = open_one.id
            scheduler.hub.listen(open_one.id, listener)
            return True
        stored = await scheduler.ledger.find(scope)
        if stored is None:
            return False
        run.item((step, index)).contract_id = stored.id
        if stored.response is not None:
            listener.on_ended(stored.id, Response.FromString(stored.response.response))
        else:
            scheduler.listen(stored.id, listener)
        return True
