"""The clients of the fault table: they ask for what the load says, cancel, and wait.

In the end they read everything back. All that they do and see is written down.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TypeVar

import grpc

from muster.agent import Client, connect
from muster.model.errors import DeadlinePassed, MusterError
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import ContractState, Response
from muster.v1.scheduler_service_pb2 import (
    CancelContractRequest,
    GetContractRequest,
    GetStatisticsRequest,
    GetStatisticsResponse,
    ListContractsRequest,
    SubmitRequest,
    WaitContractRequest,
    WatchContractsRequest,
    WatchContractsResponse,
)
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from muster.wire.times import duration_of_seconds, timestamp_of_seconds
from tests.faults.load import WORK, Order
from tests.support import history as h
from tests.support.history.journal import SUFFIX
from tests.support.recording_client import OUTCOME_UNKNOWN

T = TypeVar("T")

CALL_SECONDS = 3.0  # of one try
GIVE_UP_SECONDS = 120.0  # of one order: whatever is broken is whole again long before
PAUSE_SECONDS = 0.3  # between two tries, at random up to this, doubling with each …
PAUSE_SECONDS_MAX = 2.4  # so that the clients do not become the fault
AT_ONCE = 40  # questions, when everything is read back
BODY_CHARACTERS = 40  # of a text stand for all of it
WATCHED_MAX = 300  # contracts that are also asked for by a watch of their own, by seed
_LATER = frozenset({"QUEUE_FULL", "LEDGER_UNAVAILABLE", "NOT_READY"})


class Clients:
    """A client of the SDK, on a stream, and one of bare calls. Use `clients`."""

    def __init__(self, client: Client, stub: SchedulerServiceStub, journal: h.Journal) -> None:
        self.client = client
        self.stub = stub
        self.journal = journal
        self.latencies: list[tuple[float, float]] = []  # when a response came, how long after
        # Of single tasks: when they began and ended, and how long that took beyond their own time.
        self.overheads: list[tuple[float, float, float]] = []
        self.answered: dict[str, float] = {}  # by contract, when its response came
        self.acknowledged: dict[str, float] = {}  # by contract, when its Submit returned
        self.refused = 0  # for now: full, or away
        self._calls = count(1)

    # --- orders -----------------------------------------------------------------------------------

    async def ask(self, order: Order) -> None:
        """Makes a request and waits for its response, for as long as it takes."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS), asyncio.TaskGroup() as tasks:
                known: asyncio.Future[str] = asyncio.get_running_loop().create_future()
                cancelling = tasks.create_task(self._cancel_later(order, known))
                await (self._on_stream if order.on_stream else self._by_calls)(order, known)
                if order.cancel_after is None or not known.done():
                    cancelling.cancel()
            took = time.monotonic() - began
            self.latencies.append((began + took, took))
            if order.capability == WORK and not order.timeout and order.cancel_after is None:
                self.overheads.append((began, began + took, took - order.ms / 1000))
        except TimeoutError:
            # An acknowledged contract that was not answered by now is the checker's to report.
            self.journal.write(h.Unknown(order.request_id, "GAVE_UP"))

    async def _cancel_later(self, order: Order, known: asyncio.Future[str]) -> None:
        contract_id = await known
        if order.cancel_after is not None:
            await asyncio.sleep(order.cancel_after)
            await self.cancel(contract_id)

    async def _on_stream(self, order: Order, known: asyncio.Future[str]) -> None:
        self._submits(order, time.time() + order.timeout if order.timeout else 0.0)
        try:
            handle = await self.client.submit(
                order.capability,
                order.values,
                request_id=order.request_id,
                timeout=order.timeout,
            )
            contract_id = await handle.accepted()
            self._acknowledges(order.request_id, contract_id, known)
            response = await handle.response()
        except DeadlinePassed as passed:
            # It may be the mesh that says so, or the SDK after it has heard nothing.
            self.journal.write(h.Unknown(order.request_id, passed.reason))
        except MusterError as error:
            self._refuses(order, error)
        else:
            self.journal.write(h.Question(h.STREAM, contract_id))
            self._answers(h.STREAM, response)

    async def _by_calls(self, order: Order, known: asyncio.Future[str]) -> None:
        request = Request(request_id=order.request_id)
        request.capability.name = order.capability
        request.payload.json = json.dumps(order.values)
        deadline = time.time() + order.timeout if order.timeout else 0.0
        if deadline:
            request.deadline.CopyFrom(timestamp_of_seconds(deadline))
        self._submits(order, deadline)
        submit = SubmitRequest(request=request)
        try:
            reply = await self._persist(
                "Submit",
                order.request_id,
                lambda: self.stub.Submit(submit, timeout=CALL_SECONDS),
            )
        except MusterError as error:
            self._refuses(order, error)
            return
        contract_id = reply.accepted.contract_id
        self._acknowledges(order.request_id, contract_id, known)
        with suppress(MusterError):  # a question without an answer is the checker's to report
            await self.wait(contract_id)

    def _submits(self, order: Order, deadline: float) -> None:
        body = f"{order.capability} {body_of(order)}"
        self.journal.write(h.Submission(order.request_id, body, order.capability, deadline))

    def _refuses(self, order: Order, error: MusterError) -> None:
        body = f"{order.capability} {body_of(order)}"
        self.journal.write(h.Refusal(order.request_id, body, error.reason or error.code.name))

    def _acknowledges(self, request_id: str, contract_id: str, known: asyncio.Future[str]) -> None:
        self.journal.write(h.Acknowledgement(request_id, contract_id))
        self.acknowledged.setdefault(contract_id, time.monotonic())
        known.set_result(contract_id)

    def _answers(self, channel: str, response: Response) -> None:
        self.journal.write(h.answer_of(channel, response))
        self.answered.setdefault(response.contract_id, time.monotonic())

    async def submit_once(self, request_id: str) -> str:
        """Submits a contract, and not again; returns what kept it from being accepted, if anything
        did."""
        request = Request(request_id=request_id)
        request.capability.name, request.payload.json = "fault.work", '{"text": "once"}'
        body = "once"
        self.journal.write(h.Submission(request_id, body, "fault.work"))
        submit = SubmitRequest(request=request)
        with self._noted("Submit", request_id, CALL_SECONDS) as note:
            try:
                reply = await self.stub.Submit(submit, timeout=CALL_SECONDS)
            except grpc.RpcError as broken:
                error = error_of_rpc(broken)
                note(error.code.name)
                self.journal.write(h.Unknown(request_id, error.code.name))
                return f"{error.code.name} {error.reason}".strip()
        self.journal.write(h.Acknowledgement(request_id, reply.accepted.contract_id))
        self.acknowledged.setdefault(reply.accepted.contract_id, time.monotonic())
        return ""

    # --- single calls -----------------------------------------------------------------------------

    async def wait(self, contract_id: str) -> None:
        """Waits for a response with WaitContract."""
        request = WaitContractRequest(contract_id=contract_id)
        request.timeout.CopyFrom(duration_of_seconds(CALL_SECONDS))
        self.journal.write(h.Question(h.WAIT, contract_id))
        while True:
            reply = await self._persist(
                "WaitContract",
                contract_id,
                lambda: self.stub.WaitContract(request, timeout=2 * CALL_SECONDS),
                2 * CALL_SECONDS,
            )
            if reply.HasField("response"):
                return self._answers(h.WAIT, reply.response)

    async def cancel(self, contract_id: str) -> None:
        """Cancels, again as long as the outcome is unknown."""
        request = CancelContractRequest(contract_id=contract_id, reason="the load says so")
        try:
            reply = await self._persist(
                "CancelContract",
                contract_id,
                lambda: self.stub.CancelContract(request, timeout=CALL_SECONDS),
            )
        except MusterError as error:
            self.journal.write(h.Cancellation(contract_id, error.reason))
            return
        self.journal.write(h.Cancellation(contract_id, h.OK))
        self._answers(h.CANCEL, reply.response)

    async def get(self, contract_id: str) -> None:
        """Asks with GetContract, and notes the contract's attempts."""
        request = GetContractRequest(contract_id=contract_id)
        self.journal.write(h.Question(h.GET, contract_id))
        reply = await self._persist(
            "GetContract",
            contract_id,
            lambda: self.stub.GetContract(request, timeout=CALL_SECONDS),
        )
        if reply.contract.HasField("response"):
            self._answers(h.GET, reply.contract.response)
        self.journal.write(h.shown_of(reply.contract))

    async def watch(self, contract_id: str) -> None:
        """Asks with a watch of the one contract."""
        request = WatchContractsRequest(contract_id=contract_id)

        async def last_frame() -> WatchContractsResponse:
            call = self.stub.WatchContracts(request, timeout=CALL_SECONDS)
            return [frame async for frame in call][-1]

        self.journal.write(h.Question(h.WATCH, contract_id))
        frame = await self._persist("WatchContracts", contract_id, last_frame)
        if frame.HasField("response"):
            self._answers(h.WATCH, frame.response)

    async def statistics(self) -> GetStatisticsResponse:
        """The scheduler's counts."""
        request = GetStatisticsRequest()
        return await self._persist(
            "GetStatistics",
            "",
            lambda: self.stub.GetStatistics(request, timeout=CALL_SECONDS),
        )

    async def _persist(
        self,
        method: str,
        subject: str,
        call: Callable[[], Awaitable[T]],
        seconds: float = CALL_SECONDS,
    ) -> T:
        """Makes a call that may be made again, as long as its outcome is unknown."""
        pause = PAUSE_SECONDS
        while True:
            with self._noted(method, subject, seconds) as note:
                try:
                    return await call()
                except grpc.RpcError as broken:
                    error = error_of_rpc(broken)
                    note(error.code.name)
            if error.reason in _LATER:
                self.refused += 1
            elif error.code not in OUTCOME_UNKNOWN or error.reason == "DEADLINE_PASSED":
                raise error
            await asyncio.sleep(pause * random.random())
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    @contextmanager
    def _noted(self, method: str, subject: str, seconds: float) -> Iterator[Callable[[str], None]]:
        number, status = next(self._calls), h.OK

        def note(text: str) -> None:
            nonlocal status
            status = text

        self.journal.write(h.CallStarted(number, method, seconds, subject))
        try:
            yield note
        finally:
            self.journal.write(h.CallEnded(number, status))

    # --- reading back -----------------------------------------------------------------------------

    async def read_back(self, seed: int) -> None:
        """Asks again about every contract there is, when the faults are over."""
        contract_ids = await self._list()
        watched = set(random.Random(seed).sample(contract_ids, min(WATCHED_MAX, len(contract_ids))))
        waiting = iter(contract_ids)

        async def ask() -> None:
            for contract_id in waiting:
                with suppress(MusterError):  # as above
                    if contract_id not in self.answered:
                        await self.wait(contract_id)
                    await self.get(contract_id)
                    if contract_id in watched:
                        await self.watch(contract_id)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(ask())

    async def count(self, *, alone: bool) -> None:
        """Notes what GetStatistics counts, when nothing is under way. What it counts of all tenants
        only fits where the tenant is `alone`."""
        reply = await self.statistics()
        counts = {
            ContractState.Name(each.state).removeprefix("CONTRACT_STATE_"): float(each.contracts)
            for each in reply.states
        }
        for name in ("accepted", "ended", "fenced", "retries", "losses") if alone else ():
            counts[name] = float(getattr(reply, name))
        self.journal.write(h.Counted("statistics", "default", counts))

    async def _list(self) -> list[str]:
        request = ListContractsRequest(page_size=1000)
        found: list[str] = []
        while True:
            page = await self._persist(
                "ListContracts",
                "",
                lambda: self.stub.ListContracts(request, timeout=2 * CALL_SECONDS),
                2 * CALL_SECONDS,
            )
            for each in page.contracts:
                self.journal.write(h.listing_of(each))
                found.append(each.id)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found

    @asynccontextmanager
    async def following(self) -> AsyncIterator[set[str]]:
        """Watches the events of all contracts while the block runs; yields those that it saw end,
        which goes on to grow."""
        since = await self.client.position()
        ended: set[str] = set()

        async def follow() -> None:
            async for change in self.client.watch(since=since):
                self.journal.write(
                    h.Change(
                        change.contract_id,
                        change.sequence,
                        change.type,
                        change.state,
                        change.epoch,
                        change.agent,
                        change.code,
                        change.time,
                    )
                )
                if change.type == "ENDED":
                    ended.add(change.contract_id)

        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow())
            yield ended
            following.cancel()


def percentile(values: list[float], share: float = 0.99) -> float:
    """A percentile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def body_of(order: Order) -> str:
    """What stands for a request's body; a large text by its beginning."""
    text = str(order.values["text"])[:BODY_CHARACTERS]
    return json.dumps({**order.values, "text": text, "timeout": order.timeout}, sort_keys=True)


@asynccontextmanager
async def clients(scheduler: str, folder: Path) -> AsyncIterator[Clients]:
    """Clients of a mesh; `scheduler` is where bare calls go, the environment says the rest."""
    journal = h.Journal(folder / f"clients{SUFFIX}", "clients")
    async with connect() as client, open_channel(scheduler, retries=False) as channel:
        yield Clients(client, SchedulerServiceStub(channel), journal)
