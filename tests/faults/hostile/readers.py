"""Those who ask for much and read none of it, or little."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from muster.model import limits
from muster.v1.capability_pb2 import CapabilitySelector
from muster.v1.catalogue_service_pb2 import WatchCatalogueRequest
from muster.v1.catalogue_service_pb2_grpc import CatalogueServiceStub
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.event_pb2 import OutputChunk, StreamItem
from muster.v1.executor_service_pb2 import ConnectResponse
from muster.v1.registry_service_pb2 import WatchAgentsRequest
from muster.v1.request_pb2 import Request
from muster.v1.scheduler_service_pb2 import (
    SubmitRequest,
    SubmitStreamRequest,
    WatchContractsRequest,
    WatchContractsResponse,
)
from muster.v1.session_pb2 import AttemptKey, Report
from tests.faults.hostile.figures import Figure, Size
from tests.faults.hostile.fuzz import REFLECTION
from tests.faults.hostile.ground import MB, Ground, Stubs
from tests.faults.hostile.spoken import (
    LARGE,
    LARGE_BYTES,
    SpokenHost,
    living,
    request,
    spec,
)

_WHOLE_SCHEDULER = ServerReflectionRequest(file_containing_symbol="muster.v1.SchedulerService")
STALLED_MB = 8.0  # of memory for each stream that nobody reads
# What the same work takes and leaves behind when everything is read; now more, now less.
SLACK_MB = 48.0
MUCH_BYTES = 24 * MB  # that is to be written to each such stream: more than it may cost
# A request that waits is in memory as a message and as bytes; once assigned, until that has timed
# out, as an assignment too.
REQUEST_COPIES = 3
WINDOW = 16  # of the agent that gives large answers
DONE_SECONDS = 60.0  # until all of that has been worked on


async def unread_submits(ground: Ground, size: Size) -> list[Figure]:
    """Submit streams whose responses are large, and never read."""
    count = MUCH_BYTES // LARGE_BYTES
    worked = 0
    waiting: deque[AttemptKey] = deque()
    unacked = 0

    def answer(frame: ConnectResponse) -> dict[str, Any]:
        # No more at a time than are committed soon, whatever the disk is like: what is held must be
        # held for those who do not read.
        nonlocal worked, unacked
        if frame.HasField("welcome"):  # it has come back, and holds nothing
            waiting.clear()
            unacked = 0
        waiting.extend(each.key for each in frame.assignments)
        unacked -= len(frame.report_acks)
        said = [waiting.popleft() for _ in range(min(len(waiting), WINDOW - unacked))]
        unacked += len(said)
        worked += len(said)
        return {"reports": [Report(key=key, payload=LARGE) for key in said]}

    bound = size.streams * STALLED_MB + SLACK_MB
    async with AsyncExitStack() as stack:
        stubs = await ground.stubs(stack)
        agents = [spec("big", "hostile.big", window=WINDOW)]
        await stack.enter_async_context(living(stubs, "big-host", agents, answer))
        await _warm_up(stubs, "hostile.big", count)
        worked = 0
        siege = await stack.enter_async_context(ground.siege("unread submits", size, bound))
        streams = []
        for _ in range(size.streams):
            stream = (await ground.stubs(stack)).scheduler.SubmitStream()
            streams.append(stream)
            for _ in range(count):
                await stream.write(SubmitStreamRequest(requests=[request("hostile.big")]))
        await siege.until(lambda: worked >= count * size.streams, DONE_SECONDS)
        await siege.last()
        siege.note("contracts left undone", count * size.streams - worked, 0)
    return siege.figures


async def _warm_up(stubs: Stubs, capability: str, count: int) -> None:
    """Has so many requests worked on and reads everything: what that takes is not held against
    those who read nothing."""
    stream: Any = stubs.scheduler.SubmitStream()
    for _ in range(count):
        await stream.write(SubmitStreamRequest(requests=[request(capability)]))
    await stream.done_writing()
    while await stream.read() is not grpc.aio.EOF:
        pass


async def unread_refusals(ground: Ground, size: Size) -> list[Figure]:
    """Submit streams that ask for what is refused, and never read why."""
    bound = size.streams * STALLED_MB + SLACK_MB
    refused = Request(request_id="*" * 1_000, capability=CapabilitySelector(name="*" * 1_000))
    frame = SubmitStreamRequest(requests=[refused] * limits.FRAME_ITEMS_MAX)
    async with AsyncExitStack() as stack, ground.siege("unread refusals", size, bound) as siege:
        for _ in range(size.streams):
            stream = (await ground.stubs(stack)).scheduler.SubmitStream()
            with suppress(TimeoutError, grpc.RpcError, asyncio.InvalidStateError):
                async with asyncio.timeout(size.seconds):
                    for _ in range(2 * MUCH_BYTES // frame.ByteSize()):
                        await stream.write(frame)
                        siege.look()
        await siege.last()
    return siege.figures


async def unread_watches(ground: Ground, size: Size) -> list[Figure]:
    """Watches of contracts that say much, which nobody reads; each of another contract."""
    count = MUCH_BYTES // LARGE_BYTES
    said: dict[tuple[str, int], int] = {}  # attempt -> items
    keys: list[AttemptKey] = []
    watched = False

    def next_item(key: AttemptKey) -> Iterator[StreamItem]:
        attempt = (key.contract_id, key.epoch)
        at = said.get(attempt, 0)
        if at < count:
            said[attempt] = at + 1
            chunk = OutputChunk(chunk=at, payload=LARGE)
            yield StreamItem(
                contract_id=key.contract_id, epoch=key.epoch, index=at + 1, output=chunk
            )

    def answer(frame: ConnectResponse) -> dict[str, Any]:
        fresh = [each.key for each in frame.assignments]
        keys.extend(fresh)
        goes_on = [*(ack.key for ack in frame.item_acks), *(fresh if watched else ())]
        return {"items": [item for key in goes_on for item in next_item(key)]}

    def whole() -> int:
        return sum(at == count for at in said.values())

    bound = size.streams * STALLED_MB + SLACK_MB
    async with AsyncExitStack() as stack, ground.siege("unread watches", size, bound) as siege:
        stubs = await ground.stubs(stack)
        agents = [spec("talker", "hostile.talk", window=size.streams)]
        host = await stack.enter_async_context(living(stubs, "talk-host", agents, answer))
        for _ in range(size.streams):
            await stubs.scheduler.Submit(SubmitRequest(request=request("hostile.talk")))
        await siege.until(lambda: len(keys) == size.streams, DONE_SECONDS)
        watches = []
        for key in keys:
            watcher = await ground.stubs(stack)
            wanted = WatchContractsRequest(contract_id=key.contract_id)
            watches.append(watcher.scheduler.WatchContracts(wanted))
            await watches[-1].read()
        watched = True
        for key in keys:
            await host.say(items=list(next_item(key)))
        await siege.until(lambda: whole() >= size.streams, DONE_SECONDS)
        await siege.last()
        siege.note("contracts that said not all", size.streams - whole(), 0)
        await host.say(reports=[Report(key=key) for key in keys])
    return siege.figures


async def unread_sessions(ground: Ground, size: Size) -> list[Figure]:
    """Hosts that attach an agent with a large window, and never read what it is to do."""
    count = int(STALLED_MB * MB) // LARGE_BYTES
    bound = size.streams * STALLED_MB * (1 + REQUEST_COPIES) + SLACK_MB
    async with AsyncExitStack() as stack, ground.siege("unread sessions", size, bound) as siege:
        hosts = []
        for number in range(size.streams):
            stubs = await ground.stubs(stack)
            agents = [spec(f"deaf-{number}", f"hostile.deaf-{number}", window=10_000)]
            hosts.append(SpokenHost(stubs, f"deaf-host-{number}", agents))
            await hosts[-1].greet()
        asking = (await ground.stubs(stack)).scheduler.SubmitStream()
        for number in range(size.streams):
            for _ in range(count):
                wanted = request(f"hostile.deaf-{number}", LARGE)
                wanted.deadline.FromSeconds(int(time.time() + 2 * size.seconds))
                await asking.write(SubmitStreamRequest(requests=[wanted]))
            siege.look()
        await siege.last()
    return siege.figures


async def unread_calls(ground: Ground, size: Size) -> list[Figure]:
    """Every other stream that goes on, opened many times and never read."""
    bound = size.streams * STALLED_MB
    async with AsyncExitStack() as stack, ground.siege("unread calls", size, bound) as siege:
        calls: list[Any] = []
        for _ in range(size.streams):
            stubs = await ground.stubs(stack)
            health: Any = health_pb2_grpc.HealthStub(stubs.channel)
            everything = WatchContractsRequest(filter=ContractFilter())
            asking = reflecting(stubs.channel)
            calls += [
                health.Watch(health_pb2.HealthCheckRequest()),
                stubs.registry.WatchAgents(WatchAgentsRequest()),
                CatalogueServiceStub(stubs.channel).WatchCatalogue(WatchCatalogueRequest()),
                stubs.scheduler.WatchContracts(everything),
                asking,
            ]
            with suppress(TimeoutError):
                async with asyncio.timeout(size.seconds / size.streams):
                    while True:  # each answer is some 60 KB
                        await asking.write(_WHOLE_SCHEDULER)
        await siege.last()
    return siege.figures


async def slow_readers(ground: Ground, size: Size) -> list[Figure]:
    """Watches of everything that read a frame now and then; one that is cut off begins again where
    it was, and misses nothing."""
    bound = size.streams * STALLED_MB
    missed = 0
    async with AsyncExitStack() as stack, ground.siege("slow readers", size, bound) as siege:
        loop = asyncio.get_running_loop()
        ends = loop.time() + size.seconds

        async def read_slowly(stubs: Stubs) -> None:
            nonlocal missed
            watch = stubs.scheduler.WatchContracts(WatchContractsRequest(filter=ContractFilter()))
            newest: dict[str, int] = {}
            await watch.read()
            while loop.time() < ends:
                await asyncio.sleep(size.seconds / 10)
                frame = await watch.read()
                assert isinstance(frame, WatchContractsResponse)
                for event in frame.events:
                    before = newest.get(event.contract_id, event.sequence - 1)
                    missed += event.sequence != before + 1
                    newest[event.contract_id] = event.sequence

        async with asyncio.TaskGroup() as tasks:
            for _ in range(size.streams):
                tasks.create_task(read_slowly(await ground.stubs(stack)))
        siege.note("events missed", missed, 0)
    return siege.figures


def reflecting(channel: grpc.aio.Channel) -> Any:
    """A reflection stream."""
    multi: Any = channel.stream_stream(
        REFLECTION, ServerReflectionRequest.SerializeToString, ServerReflectionResponse.FromString
    )
    return multi()
