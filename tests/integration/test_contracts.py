"""A contract's life through the whole mesh, in both shapes: real gRPC, real ledger, real hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from muster.agent import Agent, Context, ContractFailed, Failed, connect
from muster.model.errors import (
    AlreadyExists,
    DeadlinePassed,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from muster.model.retry import RetryPolicy
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.event_pb2 import EVENT_TYPE_ACCEPTED, EVENT_TYPE_ENDED, Event
from muster.v1.response_pb2 import (
    CONTRACT_STATE_CANCELLED,
    CONTRACT_STATE_EXPIRED,
    CONTRACT_STATE_SUCCEEDED,
)
from muster.v1.scheduler_service_pb2 import (
    CancelContractRequest,
    ExplainPlacementRequest,
    GetContractRequest,
    GetStatisticsRequest,
    ListContractsRequest,
    SubmitRequest,
    WaitContractRequest,
    WatchContractsRequest,
)
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from muster.wire.times import timestamp_of_seconds
from tests.support.meshes import Mesh


class Worker:
    """An agent whose capabilities the tests control."""

    def __init__(self, name: str = "worker", window: int = 50) -> None:
        self.agent = agent = Agent(name, kind="test", max_in_flight=window)
        self.runs: list[str] = []
        self.gate = asyncio.Event()
        self.stopped: list[str] = []
        self.failures_left = 0

        @agent.capability("test.echo")
        async def echo(text: str) -> str:
            self.runs.append(text)
            return text

        @agent.capability("test.wait")
        async def wait(text: str, *, ctx: Context) -> str:
            self.runs.append(text)
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.stopped.append(text)
                raise
            return text

        @agent.capability("test.flaky")
        async def flaky() -> int:
            self.runs.append("flaky")
            if self.failures_left:
                self.failures_left -= 1
                raise Failed("NOT_YET", "try again")
            return len(self.runs)

        @agent.capability("test.talk")
        async def talk(*, ctx: Context) -> str:
            ctx.progress(0.5, "half way")
            ctx.log("a line")
            for part in ("one", "two", "three"):
                await ctx.output(part)
            return "done"

        @agent.capability("test.fibonacci")
        async def fibonacci(n: int, *, ctx: Context) -> int:
            if n < 2:
                return n
            below = await ctx.gather(
                [await ctx.submit("test.fibonacci", {"n": n - k}, key=str(k)) for k in (1, 2)]
            )
            return int(sum(below))


@asynccontextmanager
async def scheduler(mesh: Mesh) -> AsyncIterator[SchedulerServiceStub]:
    """Bare calls."""
    async with open_channel(mesh.scheduler) as channel:
        yield SchedulerServiceStub(channel)


def request_of(
    text: str = "hello", request_id: str = "r1", name: str = "test.echo"
) -> SubmitRequest:
    """A request for an echo."""
    submit = SubmitRequest()
    submit.request.request_id = request_id
    submit.request.capability.name = name
    submit.request.payload.json = f'{{"text": "{text}"}}'
    return submit


async def test_a_call_comes_back_with_the_agents_answer(mesh: Mesh) -> None:
    async with mesh.host(Worker().agent), connect() as client:
        assert await client.call("test.echo", {"text": "hello"}) == "hello"


async def test_a_thousand_calls_are_each_answered_once_by_one_run(mesh: Mesh) -> None:
    workers = [Worker(f"worker-{n}") for n in range(4)]
    async with mesh.host(*(worker.agent for worker in workers)), connect() as client:
        texts = [f"text {n}" for n in range(1000)]
        answers = await asyncio.gather(*(client.call("test.echo", {"text": t}) for t in texts))
    assert answers == texts
    runs = [run for worker in workers for run in worker.runs]
    assert sorted(runs) == sorted(texts)


async def test_fifty_submits_of_one_request_id_at_once_make_one_contract(mesh: Mesh) -> None:
    worker = Worker()
    async with mesh.host(worker.agent), scheduler(mesh) as stub:
        replies = await asyncio.gather(*(stub.Submit(request_of()) for _ in range(50)))
        assert len({reply.accepted.contract_id for reply in replies}) == 1
        assert sum(not reply.accepted.duplicate for reply in replies) == 1
        contract_id = replies[0].accepted.contract_id
        await stub.WaitContract(WaitContractRequest(contract_id=contract_id))
        late = await stub.Submit(request_of())
        assert late.accepted.duplicate
        assert late.response.state == CONTRACT_STATE_SUCCEEDED
        assert worker.runs == ["hello"]
        with pytest.raises(grpc.RpcError) as refused:
            await stub.Submit(request_of("something else"))
    assert isinstance(error_of_rpc(refused.value), AlreadyExists)


async def test_the_same_id_of_another_principal_or_tenant_is_another_contract(mesh: Mesh) -> None:
    async with mesh.host(Worker().agent), scheduler(mesh) as stub:
        first = await stub.Submit(request_of())
        other = await stub.Submit(request_of(), metadata=[("muster-principal", "somebody")])
        assert first.accepted.contract_id != other.accepted.contract_id
        with pytest.raises(grpc.RpcError) as hidden:
            await stub.GetContract(
                GetContractRequest(contract_id=first.accepted.contract_id),
                metadata=[("muster-tenant", "stranger")],
            )
    assert isinstance(error_of_rpc(hidden.value), NotFound)


async def test_a_failure_is_retried_and_the_attempts_are_on_record(mesh: Mesh) -> None:
    worker = Worker()
    worker.failures_left = 2
    async with mesh.host(worker.agent), connect() as client, scheduler(mesh) as stub:
        handle = await client.submit("test.flaky")
        assert await handle.result() == 3
        contract_id = await handle.accepted()
        contract = (await stub.GetContract(GetContractRequest(contract_id=contract_id))).contract
    assert [attempt.failure.code for attempt in contract.attempts] == ["NOT_YET", "NOT_YET", ""]
    epochs = [attempt.epoch for attempt in contract.attempts]
    assert epochs == sorted(set(epochs))


async def test_a_failure_that_may_not_be_retried_is_the_response(mesh: Mesh) -> None:
    worker = Worker()
    worker.failures_left = 100
    async with mesh.host(worker.agent), connect() as client:
        with pytest.raises(ContractFailed) as failed:
            await client.call("test.flaky", retry=RetryPolicy(maximum_attempts=1))
    assert failed.value.code == "NOT_YET"
    assert worker.runs == ["flaky"]


async def test_children_are_answered_though_one_agent_has_one_slot(mesh: Mesh) -> None:
    worker = Worker(window=1)
    async with mesh.host(worker.agent), connect() as client:
        assert await client.call("test.fibonacci", {"n": 6}) == 8


async def test_cancel_stops_the_agent_and_is_final(mesh: Mesh) -> None:
    worker = Worker()
    async with mesh.host(worker.agent), connect() as client, scheduler(mesh) as stub:
        handle = await client.submit("test.wait", {"text": "long"})
        contract_id = await handle.accepted()
        await started(stub, contract_id)
        response = await handle.cancel("changed my mind")
        assert response.state == CONTRACT_STATE_CANCELLED
        with pytest.raises(ContractFailed):
            await handle.result()
        again = await stub.CancelContract(CancelContractRequest(contract_id=contract_id))
        assert again.response == response
        # The slot comes back: the window of 50 takes 50 more.
        worker.gate.set()
        more = [client.call("test.wait", {"text": str(n)}) for n in range(50)]
        await asyncio.wait_for(asyncio.gather(*more), 20)
    assert worker.stopped == ["long"]


async def test_cancelling_what_has_a_response_is_refused(mesh: Mesh) -> None:
    async with mesh.host(Worker().agent), connect() as client, scheduler(mesh) as stub:
        handle = await client.submit("test.echo", {"text": "done"})
        await handle.result()
        with pytest.raises(grpc.RpcError) as refused:
            await stub.CancelContract(CancelContractRequest(contract_id=await handle.accepted()))
    assert isinstance(error_of_rpc(refused.value), FailedPrecondition)


async def started(stub: SchedulerServiceStub, contract_id: str) -> None:
    """Returns when an agent runs the contract."""
    watch = stub.WatchContracts(WatchContractsRequest(contract_id=contract_id))
    async for frame in watch:
        if any(event.epoch for event in frame.events):
            watch.cancel()
            return


async def test_a_deadline_ends_what_nobody_takes(mesh: Mesh) -> None:
    worker = Worker()
    async with mesh.host(worker.agent):
        pass
    async with scheduler(mesh) as stub:
        submit = request_of()
        loop = asyncio.get_running_loop()
        import time

        submit.request.deadline.CopyFrom(timestamp_of_seconds(time.time() + 1.0))
        began = loop.time()
        contract_id = (await stub.Submit(submit)).accepted.contract_id
        ended = await stub.WaitContract(WaitContractRequest(contract_id=contract_id))
        assert ended.state == CONTRACT_STATE_EXPIRED
        assert ended.response.failure.code == "DEADLINE_EXCEEDED"
        assert loop.time() - began < 2.0
        submit.request.request_id = "too-late"
        submit.request.deadline.CopyFrom(timestamp_of_seconds(time.time() - 1.0))
        with pytest.raises(grpc.RpcError) as refused:
            await stub.Submit(submit)
    assert error_of_rpc(refused.value).reason == DeadlinePassed.reason


async def test_a_watch_shows_every_event_and_item_once_in_order(mesh: Mesh) -> None:
    async with mesh.host(Worker().agent), connect() as client, scheduler(mesh) as stub:
        handle = await client.submit("test.talk")
        request = WatchContractsRequest(contract_id=await handle.accepted())
        frames = [frame async for frame in stub.WatchContracts(request)]
        events = [event for frame in frames for event in frame.events]
        items = [item for frame in frames for item in frame.items]
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert (events[0].type, events[-1].type) == (EVENT_TYPE_ACCEPTED, EVENT_TYPE_ENDED)
        chunks = [item.output.payload.json for item in items if item.HasField("output")]
        assert chunks == ['"one"', '"two"', '"three"']
        assert frames[-1].response.state == CONTRACT_STATE_SUCCEEDED
        # A second watch, of history alone, shows the same but for superseded progress.
        again = [frame async for frame in stub.WatchContracts(request)]
        assert [e.sequence for f in again for e in f.events] == [e.sequence for e in events]
        assert [
            item.output.payload.json for f in again for item in f.items if item.HasField("output")
        ] == chunks


async def test_a_watch_of_many_resumes_from_its_cursor_without_a_gap(mesh: Mesh) -> None:
    async with mesh.host(Worker().agent), connect() as client, scheduler(mesh) as stub:
        watch = stub.WatchContracts(WatchContractsRequest(filter=ContractFilter()))
        frames = aiter(watch)
        cursor = (await anext(frames)).cursor
        await client.call("test.echo", {"text": "first"})
        seen: list[Event] = []
        while not any(event.type == EVENT_TYPE_ENDED for event in seen):
            frame = await anext(frames)
            seen += frame.events
        watch.cancel()
        await client.call("test.echo", {"text": "second"})
        resumed = stub.WatchContracts(WatchContractsRequest(filter=ContractFilter(), cursor=cursor))
        replayed: list[Event] = []
        async for frame in resumed:
            replayed += frame.events
            if sum(event.type == EVENT_TYPE_ENDED for event in replayed) == 2:
                resumed.cancel()
                break
    keys = [(event.contract_id, event.sequence) for event in replayed]
    assert len(keys) == len(set(keys)) == 8
    first = {event.contract_id for event in seen}
    # In order within a contract; between two of them, where several schedulers tell, in any.
    assert [key for key in keys if key[0] in first] == [
        (event.contract_id, event.sequence) for event in seen
    ]


async def test_what_does_not_fit_is_refused_before_it_is_queued(mesh: Mesh) -> None:
    async with mesh.host(Worker().agent), scheduler(mesh) as stub:
        mismatch = request_of()
        mismatch.request.payload.json = '{"text": 5}'
        unknown = request_of(name="test.unheard_of")
        unserved = request_of()
        unserved.request.budget.tokens_max = 5
        nameless = SubmitRequest()
        for request, kind in (
            (mismatch, InvalidArgument),
            (unknown, NotFound),
            (unserved, Unimplemented),
            (nameless, InvalidArgument),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                await stub.Submit(request)
            assert isinstance(error_of_rpc(refused.value), kind), refused.value
        statistics = await stub.GetStatistics(GetStatisticsRequest())
    assert statistics.accepted == 0


async def test_a_queued_contract_says_why_it_waits(mesh: Mesh) -> None:
    worker = Worker(window=1)
    async with mesh.host(worker.agent), connect() as client, scheduler(mesh) as stub:
        first = await client.submit("test.wait", {"text": "a"})
        async for change in client.follow(await first.accepted()):
            if getattr(change, "type", "") == "STARTED":
                break
        second = await client.submit("test.wait", {"text": "b"})
        contract_id = await second.accepted()
        told = await stub.ExplainPlacement(ExplainPlacementRequest(contract_id=contract_id))
        assert "busy" in told.summary
        assert [verdict.reason for verdict in told.agents] in (
            ["has no free slot: 1 of 1 are taken"],
            ["its slots are lent to other schedulers just now"],
        )
        worker.gate.set()
        assert await client.gather([first, second]) == ["a", "b"]


async def test_lists_come_in_pages_newest_first_and_by_filter(mesh: Mesh) -> None:
    async with mesh.host(Worker().agent), connect() as client, scheduler(mesh) as stub:
        for number in range(5):
            await client.call("test.echo", {"text": str(number)}, request_id=f"id-{number}")
        await client.call("test.flaky")
        wanted = ContractFilter(capabilities=["test.echo"])
        request = ListContractsRequest(filter=wanted, page_size=2)
        names = []
        while True:
            page = await stub.ListContracts(request)
            names += [contract.request.request_id for contract in page.contracts]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert names == [f"id-{number}" for number in reversed(range(5))]
        request.page_token = "forged"
        with pytest.raises(grpc.RpcError) as refused:
            await stub.ListContracts(request)
    assert error_of_rpc(refused.value).reason == "PAGE_TOKEN"


async def test_statistics_add_up_at_rest(mesh: Mesh) -> None:
    async with mesh.host(Worker().agent), connect() as client, scheduler(mesh) as stub:
        for number in range(7):
            await client.call("test.echo", {"text": str(number)})
        statistics = await stub.GetStatistics(GetStatisticsRequest())
    counts = {entry.state: entry.contracts for entry in statistics.states}
    assert counts == {CONTRACT_STATE_SUCCEEDED: 7}
    assert (statistics.accepted, statistics.ended, statistics.fenced) == (7, 7, 0)
