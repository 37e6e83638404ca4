"""Several of every service share one ledger: any of them answers any call, and none is missed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from muster.agent import Agent, Ask, Client, Context, ContractFailed, connect
from muster.agent.watching import Ended, Output
from muster.model.errors import AlreadyExists, NotFound
from muster.model.ids import parse_id, shard_of_id
from muster.model.limits import SHARDS
from muster.runtime.principal import FORWARDED_KEY
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.response_pb2 import ContractState
from muster.v1.scheduler_service_pb2 import WatchContractsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from tests.support.processes import until
from tests.support.replicas import Replicas, replicas
from tests.support.sample_agents import sample

SUCCEEDED = ContractState.CONTRACT_STATE_SUCCEEDED


@pytest.fixture
async def both(tmp_path: Path, postgres_url: str) -> AsyncIterator[Replicas]:
    """Two of each service."""
    async with replicas(tmp_path, postgres_url) as made:
        await made.shared_by(2)
        yield made


class Gate:
    """An agent whose work ends when the test says so; it counts how often each began."""

    def __init__(self, window: int = 100) -> None:
        self.began: Counter[str] = Counter()
        self.open = asyncio.Event()
        self.agent = Agent("gate", kind="test", max_in_flight=window)

        @self.agent.capability("gate.pass")
        async def go(name: str) -> str:
            self.began[name] += 1
            await self.open.wait()
            return name


async def test_any_scheduler_answers_for_the_others(both: Replicas) -> None:
    first, second = both.mesh(0), both.mesh(1)
    async with (
        first.host(sample),
        connect(first.scheduler) as one,
        connect(second.scheduler) as other,
    ):
        for client in (one, other):
            asks = [Ask("demo.echo", {"text": str(number)}) for number in range(200)]
            assert await client.gather(asks) == [str(number) for number in range(200)]
        listed = [contract async for contract in one.list()]
        assert len(listed) == 400
        assert len({shard_of_id(parse_id(each.id)) for each in listed}) > 32
        for each in listed[:20]:
            for client in (one, other):
                assert (await client.get(each.id)).state == SUCCEEDED
                assert (await client.get(request_id=each.request.request_id)).id == each.id
                response = await client.wait(each.id)
                assert response is not None
                assert response.contract_id == each.id
                updates = [update async for update in client.follow(each.id)]
                assert isinstance(updates[-1], Ended)
        for client in (one, other):
            counts = await client.statistics()
            assert counts.accepted == counts.ended == 400
        with pytest.raises(NotFound):
            await one.get("0" * 16)


async def test_the_same_request_is_the_same_contract_wherever_it_arrives(both: Replicas) -> None:
    async with (
        both.mesh(0).host(sample),
        connect(both.mesh(0).scheduler) as one,
        connect(both.mesh(1).scheduler) as other,
    ):
        for number in range(20):
            handles = [
                await client.submit("demo.echo", {"text": "x"}, request_id=f"r{number}")
                for client in (one, other)
            ]
            assert len({await handle.accepted() for handle in handles}) == 1
        handle = await other.submit("demo.echo", {"text": "y"}, request_id="r1")
        with pytest.raises(AlreadyExists):
            await handle.result()


async def test_cancels_and_streams_reach_agents_wherever_their_session_is(both: Replicas) -> None:
    gate = Gate()
    async with (
        both.mesh(1).host(gate.agent),
        both.mesh(0).host(sample, name="talker"),
        connect(both.mesh(0).scheduler) as client,
    ):
        handles = [await client.submit("gate.pass", {"name": str(n)}) for n in range(10)]
        await until(lambda: len(gate.began) == 10, 10, "all of them run")
        for handle in handles:
            await handle.cancel("enough")
            with pytest.raises(ContractFailed, match="CANCELLED: enough"):
                await handle.result()
        assert await client.call("demo.descend", {"levels": 4}) == 4
        for _ in range(8):
            talk = await client.submit("demo.talk", {"words": ["a", "b"]})
            said = [each.value async for each in talk.watch() if isinstance(each, Output)]
            assert said == ["a", "b"]


async def test_a_watch_of_many_sees_every_shard(both: Replicas) -> None:
    async with (
        both.mesh(0).host(sample),
        connect(both.mesh(0).scheduler) as client,
        connect(both.mesh(1).scheduler) as watcher,
    ):
        since = await watcher.position()
        asks = [Ask("demo.echo", {"text": str(number)}) for number in range(100)]
        await client.gather(asks)
        for _ in range(2):  # live or from the ledger: it cannot be told, and must not matter
            ended: set[str] = set()
            async for change in watcher.watch(since=since):
                if change.type == "ENDED":
                    ended.add(change.contract_id)
                if len(ended) == 100:
                    break


async def test_what_runs_goes_on_when_its_scheduler_leaves(both: Replicas) -> None:
    gate = Gate()
    async with both.mesh(1).host(gate.agent), connect(both.mesh(1).scheduler) as client:
        handles = [await client.submit("gate.pass", {"name": str(n)}) for n in range(40)]
        await until(lambda: len(gate.began) == 40, 10, "all of them run")
        await both.schedulers[0].stop()
        gate.open.set()
        async with asyncio.timeout(20):
            assert [await handle.result() for handle in handles] == [str(n) for n in range(40)]
        assert set(gate.began.values()) == {1}
        assert await client.call("gate.pass", {"name": "more"}) == "more"


async def test_a_scheduler_that_joins_takes_its_share_and_what_runs_goes_on(
    both: Replicas, tmp_path: Path
) -> None:
    gate = Gate()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(both.mesh(0).host(gate.agent))
        clients: list[Client] = []
        for number in range(2):
            made = connect(both.mesh(number).scheduler)
            clients.append(await stack.enter_async_context(made))
        handles = [await clients[n % 2].submit("gate.pass", {"name": str(n)}) for n in range(40)]
        await until(lambda: len(gate.began) == 40, 10, "all of them run")
        third = await both.add_scheduler(stack, tmp_path)
        await both.shared_by(3)
        gate.open.set()
        async with asyncio.timeout(30):
            assert [await handle.result() for handle in handles] == [str(n) for n in range(40)]
        # Executors here know only two schedulers, so what the third one owns waits for an agent.
        await third.stop()
        await both.shared_by(2)
        assert await clients[0].call("gate.pass", {"name": "more"}) == "more"
        assert set(gate.began.values()) == {1}


async def test_one_slot_serves_both_schedulers(both: Replicas) -> None:
    one_at_a_time = Agent("narrow", kind="test")

    @one_at_a_time.capability("narrow.echo")
    async def echo(text: str, *, ctx: Context) -> str:
        return text

    async with both.mesh(0).host(one_at_a_time), connect(both.mesh(0).scheduler) as client:
        asks = [Ask("narrow.echo", {"text": str(number)}) for number in range(100)]
        async with asyncio.timeout(20):
            assert await client.gather(asks) == [str(number) for number in range(100)]


async def test_a_part_of_a_watch_ends_when_other_shards_are_owned_than_before(
    both: Replicas,
) -> None:
    """Else it would tell the present of shards whose past it has not told."""
    first, second = both.schedulers
    async with open_channel(second.address, retries=False) as channel, asyncio.timeout(30):
        watch = SchedulerServiceStub(channel).WatchContracts(
            WatchContractsRequest(filter=ContractFilter()), metadata=((FORWARDED_KEY, "1"),)
        )
        frames = aiter(watch)
        begun = await anext(frames)
        assert 0 < len(begun.cursor.positions) < SHARDS
        await first.stop()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(frames)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
