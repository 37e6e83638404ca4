"""Much that is large at once: no frame may become larger than a message."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from muster.agent import Agent, Ask, Client, Context, connect
from muster.agent.watching import Output
from muster.model import limits
from muster.v1.scheduler_service_pb2 import WatchContractsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from tests.support.meshes import Mesh

TEXT = "x" * 60_000  # just what still travels inside a message
COUNT = 2 * limits.MESSAGE_BYTES_MAX // len(TEXT)

large = Agent("large", kind="test", max_in_flight=2 * COUNT)


@large.capability("large.echo")
async def echo(text: str) -> str:
    return text


@large.capability("large.talk")
async def talk(ctx: Context) -> None:
    for _ in range(COUNT):
        await ctx.output(TEXT)


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[Client]:
    async with mesh.host(large), connect() as client:
        yield client


async def test_a_host_that_comes_back_to_many_large_requests_gets_them_all(mesh: Mesh) -> None:
    async with connect() as client:
        async with mesh.host(large):
            await client.call("large.echo", {"text": ""})
        handles = [await client.submit("large.echo", {"text": TEXT}) for _ in range(COUNT)]
        for handle in handles:
            await handle.accepted()
        async with mesh.host(large):
            assert await client.gather(handles) == [TEXT] * COUNT


async def test_many_large_requests_and_responses_at_once_all_arrive(client: Client) -> None:
    asks = [Ask("large.echo", {"text": TEXT}) for _ in range(COUNT)]
    assert await client.gather(asks) == [TEXT] * COUNT


async def test_a_contract_that_said_much_is_watched_live_and_later(
    mesh: Mesh, client: Client
) -> None:
    handle = await client.submit("large.talk")
    live = [update async for update in handle.watch()]
    assert sum(isinstance(update, Output) for update in live) == COUNT
    async with open_channel(mesh.scheduler) as channel:
        stub = SchedulerServiceStub(channel)
        wanted = WatchContractsRequest(contract_id=await handle.accepted())
        frames = [frame async for frame in stub.WatchContracts(wanted)]
    assert sum(len(frame.items) for frame in frames) == COUNT
    assert [frame.HasField("response") for frame in frames] == [False] * (len(frames) - 1) + [True]
