"""Clients that put a load on a mesh and write down what they see, whatever happens to the mesh.

What they note is in their own `history`, and in a journal if they have one: clients in several
processes have one each.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import grpc

from muster.agent import Client, connect
from muster.model import limits
from muster.model.errors import Code, MusterError
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import ContractState, Response
from muster.v1.scheduler_service_pb2 import (
    CancelContractRequest,
    GetContractRequest,
    GetStatisticsRequest,
    ListContractsRequest,
    SubmitRequest,
    SubmitResponse,
    WaitContractRequest,
    WatchContractsRequest,
    WatchContractsResponse,
)
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from tests.support.history import (
    CANCEL,
    GET,
    OK,
    STREAM,
    SUBMIT,
    UNKNOWN,
    WAIT,
    WATCH,
    Acknowledgement,
    CallEnded,
    CallStarted,
    Cancellation,
    Change,
    Counted,
    History,
    Journal,
    Question,
    Record,
    Refusal,
    Submission,
    Unknown,
    answer_of,
    change_of,
    item_seen,
    listing_of,
    shown_of,
    watch_ended,
)
from tests.support.processes import until

T = TypeVar("T")

CALL_SECONDS = 2.0  # of one try
ANSWER_SECONDS = 40.0  # until a contract has ended, whatever was killed meanwhile
# A watch that broke off comes back within the SDK's longest pause and the channel's own.
FOLLOWED_SECONDS = 2 * limits.RECONNECT_SECONDS_MAX
PAUSE_SECONDS = 0.2  # between two tries, at random up to this
AT_ONCE = 50  # questions, when everything is read back

# What leaves open whether the call had an effect; everything else is an answer.
OUTCOME_UNKNOWN = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED})

_calls = itertools.count(1)  # of all recorders of this process


class Recorder:
    """Clients of one mesh: one of the SDK on a stream, and one of bare calls. Use `recording`."""

    def __init__(
        self,
        client: Client,
        stub: SchedulerServiceStub,
        journal: Journal | None = None,
        tenant: str = "",
        principal: str = "",
    ) -> None:
        self.history = History()
        self.client = client
        self.stub = stub
        self.tries = 0  # of bare calls, unsuccessful ones included
        self._journal = journal
        self._caller = (tenant or "default", principal or "local")
        named = (("muster-tenant", tenant), ("muster-principal", principal))
        self._metadata = tuple(each for each in named if each[1])
        self._watches = itertools.count()

    def note(self, record: Record) -> None:
        """Writes something down, now."""
        record.at, record.wall = time.monotonic(), time.time()
        self.history.add(record)
        if self._journal is not None:
            self._journal.write(record)

    # --- asking for work --------------------------------------------------------------------------

    async def on_stream(self, request_id: str, capability: str, **values: object) -> Response:
        """Submits with the SDK, and waits for the response on its stream."""
        body = self.submitting(request_id, capability, values)
        handle = await self.client.submit(capability, values, request_id=request_id)
        async with asyncio.timeout(ANSWER_SECONDS):
            contract_id = await handle.accepted()
            self.note(Acknowledgement(request_id, contract_id, *self._caller, body))
            self.note(Question(STREAM, contract_id))
            response = await handle.response()
        self.note(answer_of(STREAM, response))
        return response

    async def by_calls(self, request_id: str, capability: str, **values: object) -> Response:
        """Submits with bare calls, again as long as the outcome is unknown, and waits."""
        contract_id = await self.submit(request_id, capability, **values)
        assert contract_id, f"{request_id} was refused: {self.history.refusals[-1]}"
        return await self.wait(contract_id)

    def submitting(
        self, request_id: str, capability: str, values: dict[str, object], deadline: float = 0.0
    ) -> str:
        """Notes that a request is about to be sent; returns what stands for its body."""
        body = body_of(capability, values)
        self.note(Submission(request_id, body, capability, deadline, *self._caller))
        return body

    async def submit(self, request_id: str, capability: str, **values: object) -> str:
        """The same as `submit_by`, without a deadline."""
        return await self.submit_by(0.0, request_id, capability, **values)

    async def submit_by(
        self, deadline: float, request_id: str, capability: str, **values: object
    ) -> str:
        """Submits with bare calls until the mesh has acknowledged or refused it.

        `deadline` is in Unix seconds. Returns the contract's id; empty when it was refused.
        """
        request = request_for(request_id, capability, values, deadline)
        return await self.submit_request(request, body_of(capability, values))

    async def submit_request(self, request: Request, body: str) -> str:
        """The same with a request that is made already, and what stands for its body."""
        request_id, capability = request.request_id, request.capability.name
        submit = SubmitRequest(request=request)
        deadline = request.deadline.ToNanoseconds() / 1e9
        self.note(Submission(request_id, body, capability, deadline, *self._caller))

        async def once() -> SubmitResponse:
            try:
                return await self.stub.Submit(submit, timeout=CALL_SECONDS, **self._as_caller)
            except grpc.RpcError as broken:
                error = error_of_rpc(broken)
                if error.code in OUTCOME_UNKNOWN:
                    self.note(Unknown(request_id, error.code.name, *self._caller))
                raise

        try:
            reply = await self._persist(once, SUBMIT, CALL_SECONDS, request_id)
        except MusterError as error:
            reason = error.reason or error.code.name
            self.note(Refusal(request_id, body, reason, *self._caller))
            return ""
        contract_id = reply.accepted.contract_id
        self.note(Acknowledgement(request_id, contract_id, *self._caller, body))
        if reply.HasField("response"):
            self.note(answer_of(SUBMIT, reply.response))
        return contract_id

    async def cancel(self, contract_id: str) -> str:
        """Cancels with a bare call, once. Returns OK, UNKNOWN, or why it was refused."""
        request = CancelContractRequest(contract_id=contract_id, reason="for a test")
        try:
            reply = await self._call(
                lambda: self.stub.CancelContract(request, timeout=CALL_SECONDS, **self._as_caller),
                *(CANCEL, CALL_SECONDS, contract_id),
            )
        except grpc.RpcError as broken:
            error = error_of_rpc(broken)
            outcome = UNKNOWN if error.code in OUTCOME_UNKNOWN else error.reason or error.code.name
        else:
            outcome = OK
            self.note(answer_of(CANCEL, reply.response))
        self.note(Cancellation(contract_id, outcome))
        return outcome

    # --- asking what became of it -----------------------------------------------------------------

    async def wait(self, contract_id: str) -> Response:
        """Waits for a response with WaitContract."""
        self.note(Question(WAIT, contract_id))
        request = WaitContractRequest(contract_id=contract_id)
        request.timeout.FromTimedelta(timedelta(seconds=CALL_SECONDS))
        timeout = 2 * CALL_SECONDS
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                reply = await self._persist(
                    lambda: self.stub.WaitContract(request, timeout=timeout, **self._as_caller),
                    *(WAIT, timeout, contract_id),
                )
                if reply.HasField("response"):
                    self.note(answer_of(WAIT, reply.response))
                    return reply.response

    async def get(self, contract_id: str) -> None:
        """Asks with GetContract, and notes all that it shows."""
        self.note(Question(GET, contract_id))
        request = GetContractRequest(contract_id=contract_id)
        reply = await self._persist(
            lambda: self.stub.GetContract(request, timeout=CALL_SECONDS, **self._as_caller),
            *(GET, CALL_SECONDS, contract_id),
        )
        if reply.contract.HasField("response"):
            self.note(answer_of(GET, reply.contract.response))
        self.note(shown_of(reply.contract))

    async def watch(self, contract_id: str, seconds: float = CALL_SECONDS) -> None:
        """Watches the one contract from its beginning to its end, which must come in so many
        seconds; a watch that breaks off begins again."""

        async def from_the_beginning() -> None:
            name = f"{contract_id}-{next(self._watches)}"
            request = WatchContractsRequest(contract_id=contract_id)
            call = self.stub.WatchContracts(request, timeout=seconds, **self._as_caller)
            async for frame in call:
                self._note_frame(frame, name)

        self.note(Question(WATCH, contract_id))
        await self._persist(from_the_beginning, WATCH, seconds, contract_id)

    def _note_frame(self, frame: WatchContractsResponse, watch: str) -> None:
        for event in frame.events:
            self.note(change_of(event, watch))
        for item in frame.items:
            self.note(item_seen(item, watch))
        if frame.HasField("response"):
            self.note(watch_ended(frame.response, watch))
            self.note(answer_of(WATCH, frame.response))

    async def read_back(self) -> None:
        """Asks on every channel about every contract there is, when the faults are over."""
        contract_ids = await self._list()
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(contract_id: str) -> None:
            async with turns:
                await self.wait(contract_id)  # so that it has ended
                await self.get(contract_id)
                await self.watch(contract_id)

        async with asyncio.TaskGroup() as tasks:
            for contract_id in contract_ids:
                tasks.create_task(ask(contract_id))

    async def _list(self) -> list[str]:
        request = ListContractsRequest(page_size=1000)
        found: list[str] = []
        while True:
            page = await self._persist(
                lambda: self.stub.ListContracts(request, timeout=CALL_SECONDS, **self._as_caller),
                *("ListContracts", CALL_SECONDS),
            )
            for each in page.contracts:
                self.note(listing_of(each))
                found.append(each.id)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found

    async def count(self) -> None:
        """Notes what GetStatistics counts. Only when nothing is under way does it have to fit."""
        reply = await self._persist(
            lambda: self.stub.GetStatistics(
                GetStatisticsRequest(), timeout=CALL_SECONDS, **self._as_caller
            ),
            *("GetStatistics", CALL_SECONDS),
        )
        counts = {ContractState.Name(each.state): float(each.contracts) for each in reply.states}
        shown = {name.removeprefix("CONTRACT_STATE_"): count for name, count in counts.items()}
        for name in ("accepted", "ended", "fenced", "retries", "losses"):
            shown[name] = float(getattr(reply, name))
        self.note(Counted("statistics", self._caller[0], shown))

    # --- following everything ---------------------------------------------------------------------

    @asynccontextmanager
    async def following(self, watch: str = "all") -> AsyncIterator[None]:
        """Watches the events of all contracts while the block runs, and then until each that was
        acknowledged in it has ended, or it takes too long. The watch is called "all" only if
        nothing was submitted before."""
        since = await self.client.position()
        ended: set[str] = set()
        before = set(self.history.contract_ids)

        async def follow() -> None:
            async for each in self.client.watch(since=since):
                what = (each.contract_id, each.sequence, each.type, each.state, each.epoch)
                self.note(Change(*what, each.agent, each.code, each.time, watch))
                if each.type == "ENDED":
                    ended.add(each.contract_id)

        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow())
            yield
            wanted = set(self.history.contract_ids) - before
            with suppress(AssertionError):  # the checker says which are missing
                await until(lambda: wanted <= ended, FOLLOWED_SECONDS, "all ends were seen")
            following.cancel()

    # --- calls ------------------------------------------------------------------------------------

    @property
    def _as_caller(self) -> dict[str, Any]:
        return {"metadata": self._metadata}

    async def _persist(
        self, call: Callable[[], Awaitable[T]], method: str, timeout: float, subject: str = ""
    ) -> T:
        """Makes a call that may be made again, as long as its outcome is unknown."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                self.tries += 1
                try:
                    return await self._call(call, method, timeout, subject)
                except grpc.RpcError as broken:
                    error = error_of_rpc(broken)
                    if error.code not in OUTCOME_UNKNOWN:
                        raise error from None
                await asyncio.sleep(PAUSE_SECONDS * random.random())

    async def _call(
        self, call: Callable[[], Awaitable[T]], method: str, timeout: float, subject: str = ""
    ) -> T:
        """Makes a call, and notes when it began and how it ended."""
        number = next(_calls)
        self.note(CallStarted(number, method, timeout, subject))
        status = "CANCELLED BY ITS CALLER"
        try:
            reply = await call()
            status = OK
            return reply
        except grpc.RpcError as broken:
            status = error_of_rpc(broken).code.name
            raise
        finally:
            self.note(CallEnded(number, status))


def body_of(capability: str, values: dict[str, object]) -> str:
    """What stands for a request's body."""
    return f"{capability} {json.dumps(values, sort_keys=True)}"


def request_for(
    request_id: str, capability: str, values: dict[str, object], deadline: float
) -> Request:
    """A request; a `deadline` of 0 Unix seconds is none."""
    request = Request(request_id=request_id)
    request.capability.name = capability
    request.payload.json = json.dumps(values)
    if deadline:
        request.deadline.FromNanoseconds(int(deadline * 1e9))
    return request


@asynccontextmanager
async def recording(
    scheduler: str, journal: Journal | None = None, tenant: str = "", principal: str = ""
) -> AsyncIterator[Recorder]:
    """A recorder of a mesh whose addresses the environment holds; who calls may be named."""
    async with (
        connect(tenant=tenant or None, principal=principal or None) as client,
        open_channel(scheduler, retries=False) as channel,
    ):
        yield Recorder(client, SchedulerServiceStub(channel), journal, tenant, principal)
