"""Clients that put a load on a mesh and write down what they see, whatever happens to the mesh."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import grpc

from muster.agent import Client, connect
from muster.model import limits
from muster.model.errors import Code, MusterError
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response
from muster.v1.scheduler_service_pb2 import (
    GetContractRequest,
    ListContractsRequest,
    SubmitRequest,
    WaitContractRequest,
    WatchContractsRequest,
    WatchContractsResponse,
)
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from tests.support.history import (
    GET,
    STREAM,
    WAIT,
    WATCH,
    Acknowledgement,
    Answer,
    Change,
    History,
    Listing,
    Question,
    Refusal,
    Submission,
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
_UNKNOWN = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED})


class Recorder:
    """Clients of one mesh: one of the SDK on a stream, and one of bare calls. Use `recording`."""

    def __init__(self, client: Client, stub: SchedulerServiceStub) -> None:
        self.history = History()
        self.client = client
        self.stub = stub
        self.tries = 0  # of bare calls, unsuccessful ones included

    # --- asking for work --------------------------------------------------------------------------

    async def on_stream(self, request_id: str, capability: str, **values: object) -> Response:
        """Submits with the SDK, and waits for the response on its stream."""
        history = self.history
        history.submissions.append(Submission(request_id, body_of(capability, values)))
        handle = await self.client.submit(capability, values, request_id=request_id)
        async with asyncio.timeout(ANSWER_SECONDS):
            contract_id = await handle.accepted()
            history.acknowledgements.append(Acknowledgement(request_id, contract_id))
            history.questions.append(Question(STREAM, contract_id))
            response = await handle.response()
        history.answers.append(Answer(STREAM, response))
        return response

    async def by_calls(self, request_id: str, capability: str, **values: object) -> Response:
        """Submits with bare calls, again as long as the outcome is unknown, and waits."""
        contract_id = await self.submit(request_id, capability, **values)
        return await self.wait(contract_id)

    async def submit(self, request_id: str, capability: str, **values: object) -> str:
        """Submits with bare calls until the mesh has acknowledged or refused it.

        Returns the contract's id; empty when it was refused.
        """
        body = body_of(capability, values)
        request = Request(request_id=request_id)
        request.capability.name = capability
        request.payload.json = json.dumps(values)
        self.history.submissions.append(Submission(request_id, body))
        submit = SubmitRequest(request=request)
        try:
            reply = await self._persist(lambda: self.stub.Submit(submit, timeout=CALL_SECONDS))
        except MusterError as error:
            self.history.refusals.append(Refusal(request_id, body, error.reason))
            return ""
        contract_id = reply.accepted.contract_id
        self.history.acknowledgements.append(Acknowledgement(request_id, contract_id))
        return contract_id

    # --- asking what became of it -----------------------------------------------------------------

    async def wait(self, contract_id: str) -> Response:
        """Waits for a response with WaitContract."""
        self.history.questions.append(Question(WAIT, contract_id))
        request = WaitContractRequest(contract_id=contract_id)
        request.timeout.FromTimedelta(timedelta(seconds=CALL_SECONDS))
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                reply = await self._persist(
                    lambda: self.stub.WaitContract(request, timeout=2 * CALL_SECONDS)
                )
                if reply.HasField("response"):
                    self.history.answers.append(Answer(WAIT, reply.response))
                    return reply.response

    async def get(self, contract_id: str) -> None:
        """Asks with GetContract, and notes the epochs of the contract's attempts."""
        self.history.questions.append(Question(GET, contract_id))
        request = GetContractRequest(contract_id=contract_id)
        reply = await self._persist(lambda: self.stub.GetContract(request, timeout=CALL_SECONDS))
        if reply.contract.HasField("response"):
            self.history.answers.append(Answer(GET, reply.contract.response))
        self.history.epochs[contract_id] = [each.epoch for each in reply.contract.attempts]

    async def watch(self, contract_id: str) -> None:
        """Asks with a watch of the one contract."""

        async def last_frame() -> WatchContractsResponse:
            request = WatchContractsRequest(contract_id=contract_id)
            call = self.stub.WatchContracts(request, timeout=CALL_SECONDS)
            return [frame async for frame in call][-1]

        self.history.questions.append(Question(WATCH, contract_id))
        frame = await self._persist(last_frame)
        if frame.HasField("response"):
            self.history.answers.append(Answer(WATCH, frame.response))

    async def read_back(self) -> None:
        """Asks on every channel about every contract there is, when the faults are over."""
        contract_ids = await self._list()
        for contract_id in contract_ids:
            await self.wait(contract_id)  # so that all have ended
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(contract_id: str) -> None:
            async with turns:
                await self.get(contract_id)
                await self.watch(contract_id)

        async with asyncio.TaskGroup() as tasks:
            for contract_id in contract_ids:
                tasks.create_task(ask(contract_id))

    async def _list(self) -> list[str]:
        request = ListContractsRequest(page_size=1000)
        while True:
            page = await self._persist(
                lambda: self.stub.ListContracts(request, timeout=CALL_SECONDS)
            )
            for each in page.contracts:
                listing = Listing(each.id, each.request.request_id, each.parent_id)
                self.history.listings.append(listing)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return [listing.contract_id for listing in self.history.listings]

    # --- following everything ---------------------------------------------------------------------

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Watches the events of all contracts while the block runs, and then until each that was
        acknowledged has ended, or it takes too long."""
        since = await self.client.position()
        ended: set[str] = set()

        async def follow() -> None:
            async for change in self.client.watch(since=since):
                entry = Change(change.contract_id, change.sequence, change.type)
                self.history.changes.append(entry)
                if change.type == "ENDED":
                    ended.add(change.contract_id)

        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow())
            yield
            wanted = set(self.history.contract_ids)
            with suppress(AssertionError):  # the checker says which are missing
                await until(lambda: wanted <= ended, FOLLOWED_SECONDS, "all ends were seen")
            following.cancel()

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Makes a call that may be made again, as long as its outcome is unknown."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                self.tries += 1
                try:
                    return await call()
                except grpc.RpcError as broken:
                    error = error_of_rpc(broken)
                    if error.code not in _UNKNOWN:
                        raise error from None
                await asyncio.sleep(PAUSE_SECONDS * random.random())


def body_of(capability: str, values: dict[str, object]) -> str:
    """What stands for a request's body."""
    return f"{capability} {json.dumps(values, sort_keys=True)}"


@asynccontextmanager
async def recording(scheduler: str) -> AsyncIterator[Recorder]:
    """A recorder of a mesh whose addresses the environment holds."""
    async with connect() as client, open_channel(scheduler, retries=False) as channel:
        yield Recorder(client, SchedulerServiceStub(channel))
