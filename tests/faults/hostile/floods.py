"""More of what is allowed than anybody needs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc

from muster.model import limits
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.scheduler_service_pb2 import (
    CancelContractRequest,
    GetStatisticsRequest,
    SubmitRequest,
    SubmitStreamRequest,
    WaitContractRequest,
    WatchContractsRequest,
)
from tests.faults.hostile.figures import Figure, Size
from tests.faults.hostile.ground import Ground, Siege
from tests.faults.hostile.spoken import living, nothing, request, spec

TOLD_SECONDS = 20.0  # until a stream has its first frame, or hears why not
AT_ONCE = 200  # calls in flight of one flood
FLOOD_MB = 48.0  # of memory for what is under way, and for what is queued
QUEUED_KB = 8.0  # of memory for one queued contract with everything that refers to it
STREAM_KB = 64.0  # of memory for one open call
# What a flood may be told: each says that it was one.
TOLD = frozenset({"OK", "CANCELLED", "RESOURCE_EXHAUSTED", "NOT_FOUND", "FAILED_PRECONDITION"})


async def flood(count: int, one: Callable[[int], Awaitable[Any]]) -> Counter[str]:
    """Makes so many calls, AT_ONCE at a time; how they ended, by code."""
    codes: Counter[str] = Counter()
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            try:
                await one(number)
                codes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
            except asyncio.CancelledError:
                codes["CANCELLED"] += 1  # by the flood itself

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())
    return codes


def _judge(siege: Siege, codes: Counter[str]) -> None:
    siege.note("other answers", sum(codes[code] for code in codes.keys() - TOLD), 0)


async def cancelled_calls(ground: Ground, size: Size) -> list[Figure]:
    """Calls that are cancelled as soon as they are made: streams and unary ones."""
    async with AsyncExitStack() as stack, ground.siege("cancelled calls", size, FLOOD_MB) as siege:
        scheduler = (await ground.stubs(stack)).scheduler

        async def one(number: int) -> None:
            call: Any
            match number % 4:
                case 0:
                    call = scheduler.WaitContract(WaitContractRequest(contract_id="0" * 16))
                case 1:
                    call = scheduler.GetStatistics(GetStatisticsRequest())
                case 2:
                    call = scheduler.WatchContracts(WatchContractsRequest(filter=ContractFilter()))
                case _:
                    call = scheduler.SubmitStream()
                    await call.write(SubmitStreamRequest(requests=[request("honest.work")]))
            await asyncio.sleep(0)
            call.cancel()
            await call.code()

        _judge(siege, await flood(size.flood, one))
        await siege.last()
    return siege.figures


async def cancelled_contracts(ground: Ground, size: Size) -> list[Figure]:
    """Contracts that are cancelled as soon as they are accepted, and once more, and once more."""
    async with AsyncExitStack() as stack, ground.siege("cancelled work", size, FLOOD_MB) as siege:
        stubs = await ground.stubs(stack)
        agents = [spec("idler", "hostile.idle", window=100)]
        await stack.enter_async_context(living(stubs, "idle-host", agents, nothing))

        async def one(_number: int) -> None:
            submit = SubmitRequest(request=request("hostile.idle"))
            accepted = (await stubs.scheduler.Submit(submit)).accepted
            cancel = CancelContractRequest(contract_id=accepted.contract_id)
            await asyncio.gather(*(stubs.scheduler.CancelContract(cancel) for _ in range(3)))

        _judge(siege, await flood(size.flood // 4, one))
        await siege.last()
    return siege.figures


async def too_many_submits(ground: Ground, size: Size) -> list[Figure]:
    """Submits for a capability that nobody offers any more: they can only be queued."""
    bound = FLOOD_MB + size.flood * QUEUED_KB / 1024
    async with AsyncExitStack() as stack, ground.siege("queued submits", size, bound) as siege:
        stubs = await ground.stubs(stack)
        async with living(stubs, "gone-host", [spec("gone", "hostile.gone")], nothing):
            pass
        per_frame = limits.FRAME_ITEMS_MAX
        stream = stubs.scheduler.SubmitStream()
        accepted = 0
        for _ in range(size.flood // per_frame):
            asked = [request("hostile.gone") for _ in range(per_frame)]
            await stream.write(SubmitStreamRequest(requests=asked))
            told = 0
            while told < per_frame:
                frame: Any = await stream.read()
                accepted += len(frame.accepted)
                told += len(frame.accepted) + len(frame.refused)
            siege.look()
        await siege.last()
        siege.note("submits without an answer", size.flood // per_frame * per_frame - accepted, 0)
    return siege.figures


async def too_many_streams(ground: Ground, size: Size) -> list[Figure]:
    """Watches until no more are taken: each is told so, and goes on being told."""
    count = limits.WATCHERS_MAX + size.flood // 10
    bound = FLOOD_MB + count * STREAM_KB / 1024
    async with AsyncExitStack() as stack, ground.siege("many streams", size, bound) as siege:
        scheduler = (await ground.stubs(stack)).scheduler
        calls = [
            scheduler.WatchContracts(WatchContractsRequest(filter=ContractFilter()))
            for _ in range(count)
        ]
        codes: Counter[str] = Counter()
        for call in calls:
            try:
                await asyncio.wait_for(call.read(), TOLD_SECONDS)
                codes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
        await siege.last()
        siege.note("streams over the limit", codes["OK"] - limits.WATCHERS_MAX, 0)
        # Beyond what one connection may have open, HTTP/2 itself refuses: that is UNAVAILABLE.
        told = codes["RESOURCE_EXHAUSTED"] + codes["UNAVAILABLE"]
        siege.note("other answers", count - codes["OK"] - told, 0)
        for call in calls:
            call.cancel()
    return siege.figures


async def too_much_metadata(ground: Ground, size: Size) -> list[Figure]:
    """Calls with more metadata than is taken, and with as much as just is."""
    async with AsyncExitStack() as stack, ground.siege("metadata", size, FLOOD_MB) as siege:
        # A connection of its own for each: what goes too far may close it.
        careless = ("grpc.max_metadata_size", 1 << 20)
        channels = [
            await stack.enter_async_context(
                ground.channel(careless, ("grpc.absolute_max_metadata_size", 1 << 20))
            )
            for _ in range(10)
        ]
        stubs = [ground.stubs_of(channel).scheduler for channel in channels]

        async def one(number: int) -> None:
            each = (1_000, 8_000, 17_000, 200_000)[number % 4]
            metadata = ((f"x-{number % 7}", "m" * each),)
            await stubs[number % 10].GetStatistics(GetStatisticsRequest(), metadata=metadata)

        _judge(siege, await flood(size.flood // 4, one))
        await siege.last()
    return siege.figures
