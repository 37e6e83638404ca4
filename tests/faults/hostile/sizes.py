"""Messages as large as is just taken, and a byte larger; and whatever random bytes may be."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import grpc

from muster.model import limits
from muster.v1.scheduler_service_pb2 import ListContractsRequest
from tests.faults.hostile.figures import Figure, Size
from tests.faults.hostile.fuzz import call, find_methods, one_message
from tests.faults.hostile.ground import Ground, Stubs

UNKNOWN_FIELD = 1_000  # of no message of ours
SIZES_MB = 128.0  # of memory for messages of 4 MiB, of which each is there several times
FUZZ_MB = 96.0  # of memory for whatever random messages have registered, opened and left behind
AT_ONCE = 16
SEED = 20_260_501


def padded(size: int) -> bytes:
    """A valid message of any type, of so many bytes: one field that nobody knows."""
    tag = bytes([UNKNOWN_FIELD << 3 & 0x7F | 0x82, UNKNOWN_FIELD << 3 >> 7])
    length = size - len(tag) - 4  # 4 MiB and a little less have 4 bytes of length
    prefix = bytes(
        [length >> shift & 0x7F | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21)]
    )
    return tag + prefix + b"\0" * length


async def known_words(stubs: Stubs) -> list[str]:
    """Names that the mesh knows, so that what is nearly right gets further."""
    listed = await stubs.scheduler.ListContracts(ListContractsRequest(page_size=5))
    return [word for each in listed.contracts for word in (each.id, each.request.request_id)]


async def largest_messages(ground: Ground, size: Size) -> list[Figure]:
    """Every method gets a message of the most bytes, and one of a byte more: only that is refused
    for its size."""
    wrong: list[str] = []
    async with AsyncExitStack() as stack, ground.siege("largest", size, SIZES_MB) as siege:
        unlimited = ("grpc.max_send_message_length", -1)
        channel = await stack.enter_async_context(ground.channel(unlimited))
        for method in await find_methods(channel):
            just = await call(channel, method, [padded(limits.MESSAGE_BYTES_MAX)])
            over = await call(channel, method, [padded(limits.MESSAGE_BYTES_MAX + 1)])
            wrong += filter(None, (just.wrong(), over.wrong()))
            # A frame of ordinary items has a smaller limit of its own.
            if just.code is grpc.StatusCode.RESOURCE_EXHAUSTED and method.name != "Connect":
                wrong.append(f"{method.path} refuses the largest message")
            if over.code not in (grpc.StatusCode.RESOURCE_EXHAUSTED, None):
                wrong.append(f"{method.path} answers {over.code} to one that is larger")
            siege.look()
        await siege.last()
        siege.note("wrong answers", len(wrong), 0)
        ground.details += wrong[:5]
    return siege.figures


async def random_bytes(ground: Ground, size: Size) -> list[Figure]:
    """Every method gets random bytes, and messages that are nearly right; always the same ones."""
    wrong: list[str] = []
    turns = asyncio.Semaphore(AT_ONCE)
    rng = random.Random(SEED)
    async with AsyncExitStack() as stack, ground.siege("random bytes", size, FUZZ_MB) as siege:
        stubs = await ground.stubs(stack)
        methods, words = await find_methods(stubs.channel), await known_words(stubs)

        async def one() -> None:
            method = rng.choice(methods)
            most = 3 if method.takes_stream else 1
            raw = [one_message(method, rng, words) for _ in range(rng.randint(1, most))]
            found = (await call(stubs.channel, method, raw)).wrong()
            if found:
                wrong.append(f"{method.path}: {found} for {raw!r}")

        async with asyncio.TaskGroup() as tasks:
            for number in range(size.flood):
                await turns.acquire()
                tasks.create_task(one()).add_done_callback(lambda _: turns.release())
                if not number % 100:
                    siege.look()
        await siege.last()
        siege.note("wrong answers", len(wrong), 0)
        ground.details += [each[:1_000] for each in wrong[:5]]
    return siege.figures
