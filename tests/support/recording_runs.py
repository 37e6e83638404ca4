"""A client of workflow runs that writes down what it sees, whatever happens to the mesh.

It asks again as long as the outcome of a call is unknown, and follows every run that it started on
a watch of its own, which goes on from its cursor when it breaks off.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeVar

import grpc

from muster.model.errors import Code, MusterError
from muster.v1 import inbox_service_pb2 as inbox
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.inbox_service_pb2_grpc import InboxServiceStub
from muster.v1.payload_pb2 import Payload
from muster.v1.scheduler_service_pb2 import GetContractRequest, ListContractsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.v1.workflow_pb2 import Step, Workflow
from muster.v1.workflow_run_pb2 import (
    EngineKind,
    RunEvent,
    WorkflowRun,
)
from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from tests.support import history as h
from tests.support.history import records_runs as w
from tests.support.history.evidence_runs import AFTER
from tests.support.recording_client import OUTCOME_UNKNOWN
from tests.support.run_messages import (
    contract_of,
    digest_of,
    entry_of,
    item_of,
    seconds_of,
    shown_of,
    step_of,
)
from tests.support.workflows import OVER

T = TypeVar("T")

CALL_SECONDS = 3.0  # of one try
GIVE_UP_SECONDS = 120.0  # of one question
PAUSE_SECONDS = 0.2  # between two tries, at random up to this
AT_ONCE = 20  # questions, when everything is read back
LIVE = "live"

Outcome = Callable[[WorkflowRun], Any]


class RunRecorder:
    """Use `recording_runs`."""

    def __init__(
        self, channel: grpc.aio.Channel, note: Callable[[h.Record], None], engine: int
    ) -> None:
        self.flows = WorkflowServiceStub(channel)
        self.scheduler = SchedulerServiceStub(channel)
        self.inbox = InboxServiceStub(channel)
        self.engine: EngineKind.ValueType = engine  # type: ignore[assignment]
        # When an entry came live, by the monotonic clock; its own time, by the wall clock; its run.
        self.seen: list[tuple[float, float, str]] = []
        self.accepted = asyncio.Event()  # since somebody cleared it, a run was
        self.accepted_at: dict[str, float] = {}  # by run, by the monotonic clock
        self._note = note
        self._calls = count(1)
        self._steps: dict[tuple[str, int], dict[str, Step]] = {}

    def note(self, record: h.Record) -> None:
        """Writes something down, now."""
        record.at, record.wall = time.monotonic(), time.time()
        self._note(record)

    # --- calls ------------------------------------------------------------------------------------

    async def persist(
        self, method: str, subject: str, call: Callable[[], Awaitable[T]], seconds: float = 0.0
    ) -> T:
        """Makes a call that may be made again, as long as its outcome is unknown."""
        limit = seconds or CALL_SECONDS
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while True:
                number, status = next(self._calls), h.OK
                self.note(h.CallStarted(number, f"runs.{method}", limit, subject))
                try:
                    return await call()
                except grpc.RpcError as broken:
                    error = error_of_rpc(broken)
                    status = error.code.name
                    passing = error.code is Code.RESOURCE_EXHAUSTED
                    if error.code not in OUTCOME_UNKNOWN and not passing:
                        raise error from None
                finally:
                    self.note(h.CallEnded(number, status))
                await asyncio.sleep(PAUSE_SECONDS * random.random())

    async def register(self, workflow: Workflow) -> None:
        """Registers a workflow."""
        request = pb.RegisterWorkflowRequest(workflow=workflow)
        await self.persist(
            "RegisterWorkflow",
            workflow.name,
            lambda: self.flows.RegisterWorkflow(request, timeout=CALL_SECONDS),
        )

    async def start(self, workflow: str, start_id: str, value: Any, body: str) -> str:
        """Starts a run, again as long as nobody says that it was started; returns its id."""
        self.note(w.RunAsked(start_id, workflow, body))
        request = pb.StartRunRequest(
            workflow=workflow,
            start_id=start_id,
            input=Payload(json=json.dumps(value)),
            engine=self.engine,
        )
        reply = await self.persist(
            "StartRun", start_id, lambda: self.flows.StartRun(request, timeout=CALL_SECONDS)
        )
        self.note(w.RunAccepted(start_id, reply.run_id, reply.duplicate))
        self.accepted_at[reply.run_id] = time.monotonic()
        self.accepted.set()
        return reply.run_id

    async def fork(self, run_id: str, step: str, start_id: str, value: Any, body: str) -> str:
        """Forks a run from a step on; returns the new one's id."""
        self.note(w.RunAsked(start_id, "", body))
        request = pb.ForkRunRequest(run_id=run_id, step=step, start_id=start_id)
        if value is not None:
            request.input.json = json.dumps(value)
        reply = await self.persist(
            "ForkRun", start_id, lambda: self.flows.ForkRun(request, timeout=CALL_SECONDS)
        )
        self.note(w.RunAccepted(start_id, reply.run_id, reply.duplicate))
        return reply.run_id

    async def retry(self, run_id: str, step: str = "") -> None:
        """Has an ended run tried again; that it goes on already is what was wanted."""
        request = pb.RetryRunRequest(run_id=run_id, step=step)
        try:
            await self.persist(
                "RetryRun", run_id, lambda: self.flows.RetryRun(request, timeout=CALL_SECONDS)
            )
        except MusterError as error:
            if error.reason != "RUN_STATE":
                raise

    async def signal(self, run_id: str, name: str, value: Any) -> None:
        """Sends a signal, which is recorded once however often it is sent."""
        request = pb.SignalRunRequest(run_id=run_id, name=name, signal_id=f"{run_id}-{name}")
        request.payload.json = json.dumps(value)
        await self.persist(
            "SignalRun", run_id, lambda: self.flows.SignalRun(request, timeout=CALL_SECONDS)
        )

    async def answer(self, run_id: str, question_id: str, value: Any) -> None:
        """Answers a gate, again as long as nobody says that it was taken."""
        payload = Payload(json=json.dumps(value))
        request = inbox.AnswerQuestionRequest(
            subject_id=run_id, question_id=question_id, value=payload
        )
        digest, principal, outcome = digest_of(payload), "", h.OK
        try:
            reply = await self.persist(
                "AnswerQuestion",
                run_id,
                lambda: self.inbox.AnswerQuestion(request, timeout=CALL_SECONDS),
            )
            principal = reply.answer.principal
        except MusterError as error:
            outcome = error.reason or error.code.name
        self.note(w.GateAnswered(run_id, question_id, digest, principal, outcome))

    async def asked(self, run_id: str, step: str) -> str:
        """Returns the id of a step's question, once it is in the inbox."""
        request = inbox.ListQuestionsRequest(subject_id=run_id)
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while True:
                reply = await self.persist(
                    "ListQuestions",
                    run_id,
                    lambda: self.inbox.ListQuestions(request, timeout=CALL_SECONDS),
                )
                found = [each.question.id for each in reply.entries if each.step == step]
                if found:
                    return found[0]
                await asyncio.sleep(PAUSE_SECONDS / 4)

    async def get(self, run_id: str) -> WorkflowRun:
        """A run with what its items gave back."""
        request = pb.GetRunRequest(run_id=run_id, outputs=True)
        reply = await self.persist(
            "GetRun", run_id, lambda: self.flows.GetRun(request, timeout=CALL_SECONDS)
        )
        return reply.run

    # --- following --------------------------------------------------------------------------------

    async def follow(self, run_id: str, watch: str = LIVE, after: int = 0) -> int:
        """Follows a run until it has ended, from an entry on; returns the last one's number."""
        cursor = after
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while True:
                request = pb.WatchRunsRequest(run_id=run_id, after_sequence=cursor)
                try:
                    async for frame in self.flows.WatchRuns(request):
                        for event in frame.events:
                            cursor = event.sequence
                            self.note(entry_of(event, watch))
                            self.seen.append((time.monotonic(), seconds_of(event.time), run_id))
                        if frame.HasField("ended"):
                            return cursor
                except grpc.RpcError as broken:
                    error = error_of_rpc(broken)
                    if error.code not in OUTCOME_UNKNOWN:
                        raise error from None
                await asyncio.sleep(PAUSE_SECONDS * random.random())

    # --- reading back -----------------------------------------------------------------------------

    async def read_back(self, outcome: Outcome) -> None:
        """Writes down every run there is, with its journal and its contracts. `outcome` says what a
        run came to, without anything that differs from run to run."""
        turns = asyncio.Semaphore(AT_ONCE)
        labelled = await self._contracts()

        async def read(run_id: str) -> None:
            async with turns:
                await self._read_run(run_id, outcome, labelled.get(run_id, []))

        async with asyncio.TaskGroup() as tasks:
            for run_id in await self._list():
                tasks.create_task(read(run_id))

    async def _list(self) -> list[str]:
        request, found = pb.ListRunsRequest(page_size=1000), []
        while True:
            page = await self.persist(
                "ListRuns", "", lambda: self.flows.ListRuns(request, timeout=CALL_SECONDS)
            )
            found += [run.id for run in page.runs]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found

    async def _read_run(self, run_id: str, outcome: Outcome, labelled: Sequence[str]) -> None:
        run = await self.get(run_id)
        steps = await self._definition(run)
        contracts: dict[str, None] = {}
        if run.state in OVER:
            for event in await self._journal(run_id):
                self.note(entry_of(event, AFTER))
                contracts |= dict.fromkeys(filter(None, [event.item_ended.contract_id]))
        self.note(shown_of(run, outcome(run)))
        for step in run.steps:
            self.note(step_of(run_id, step, steps[step.name]))
            for item in step.items:
                self.note(item_of(run_id, step.name, item))
                contracts |= dict.fromkeys(filter(None, [item.contract_id]))
        for contract_id in dict.fromkeys([*contracts, *labelled]):
            await self._read_contract(contract_id)

    async def _definition(self, run: WorkflowRun) -> dict[str, Step]:
        key = (run.workflow, run.version)
        if key not in self._steps:
            request = pb.GetWorkflowRequest(name=run.workflow, version=run.version)
            reply = await self.persist(
                "GetWorkflow",
                run.workflow,
                lambda: self.flows.GetWorkflow(request, timeout=CALL_SECONDS),
            )
            self._steps[key] = {step.name: step for step in reply.version.workflow.steps}
        return self._steps[key]

    async def _journal(self, run_id: str) -> list[RunEvent]:
        """All of it, on a watch from the beginning."""

        async def read() -> list[RunEvent]:
            found: list[RunEvent] = []
            call = self.flows.WatchRuns(pb.WatchRunsRequest(run_id=run_id), timeout=CALL_SECONDS)
            async for frame in call:
                found += frame.events
            return found

        return await self.persist("WatchRuns", run_id, read)

    async def _contracts(self) -> dict[str, list[str]]:
        """Every contract, by the run that its label names."""
        request, found = ListContractsRequest(page_size=1000), defaultdict(list)
        while True:
            page = await self.persist(
                "ListContracts",
                "",
                lambda: self.scheduler.ListContracts(request, timeout=CALL_SECONDS),
            )
            for each in page.contracts:
                found[each.request.labels["muster.run"]].append(each.id)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found

    async def _read_contract(self, contract_id: str) -> None:
        request = GetContractRequest(contract_id=contract_id)
        reply = await self.persist(
            "GetContract",
            contract_id,
            lambda: self.scheduler.GetContract(request, timeout=CALL_SECONDS),
        )
        contract = reply.contract
        self.note(h.shown_of(contract))
        answer = h.answer_of(h.GET, contract.response)
        if answer.nonce:
            self.note(h.Question(h.GET, contract_id))
            self.note(answer)
        self.note(contract_of(contract))


@asynccontextmanager
async def recording_runs(
    target: str, note: Callable[[h.Record], None], engine: int
) -> AsyncIterator[RunRecorder]:
    """A recorder of the runs of a mesh, which are started on this engine; `note` takes down what it
    sees."""
    async with open_channel(target, retries=False) as channel:
        yield RunRecorder(channel, note, engine)
