"""Bytes that are no message, and messages that are nearly right, at every method there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings

from muster.v1.scheduler_service_pb2 import SubmitStreamRequest
from tests.faults.hostile.fuzz import Method, Outcome, call, cases, find_methods
from tests.faults.hostile.ground import Ground, Stubs, battleground
from tests.faults.hostile.sizes import known_words
from tests.faults.hostile.spoken import request

EXAMPLES = 600
REPEATS = 100
pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("hostile bytes")]


class Target:
    """A mesh, and a loop in which to call it from a test that is not asynchronous."""

    def __init__(self, runner: asyncio.Runner, ground: Ground, channel: grpc.aio.Channel) -> None:
        self.run = runner.run
        self.ground = ground
        self.channel = channel
        self.methods = runner.run(find_methods(channel))
        self.words = runner.run(known_words(Stubs(channel)))

    def call(self, method: Method, raw: Sequence[bytes]) -> Outcome:
        return self.run(call(self.channel, method, raw))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        folder: Path = tmp_path_factory.mktemp("bytes")
        ground = runner.run(stack.enter_async_context(battleground(folder)))
        channel = runner.run(stack.enter_async_context(ground.channel()))
        yield Target(runner, ground, channel)
        runner.run(stack.aclose())


def for_each_case(target: Target, check: Callable[[Method, list[bytes]], None]) -> None:
    """The same examples in every run: what fails here fails everywhere."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(target.methods, target.words))
    def examples(case: tuple[Method, list[bytes]]) -> None:
        check(*case)

    examples()


def test_every_answer_is_a_proper_one_and_tells_nothing(target: Target) -> None:
    def check(method: Method, raw: list[bytes]) -> None:
        wrong = target.call(method, raw).wrong()
        assert not wrong, f"{method.path}: {wrong}"

    for_each_case(target, check)
    assert target.ground.complaints() == []


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0b" * 200, b"\x0a\x02\xc3\x28"],
    ids=["no tag", "truncated", "too deep", "bad UTF-8"],
)
def test_what_is_no_message_is_an_invalid_argument_to_every_method(
    target: Target, raw: bytes
) -> None:
    found = {method.path: target.call(method, [raw]) for method in target.methods}
    # Bad UTF-8 is fine where the first field is not a string.
    others = {grpc.StatusCode.INVALID_ARGUMENT} if raw != b"\x0a\x02\xc3\x28" else set(ALLOWED)
    assert {path: each for path, each in found.items() if each.code not in {*others, None}} == {}
    assert target.ground.complaints() == []


ALLOWED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OK,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
)


def test_a_stream_that_fails_while_it_is_written_to_says_why_every_time(target: Target) -> None:
    refused = request("hostile.unknown")
    good = SubmitStreamRequest(requests=[refused]).SerializeToString()

    async def once() -> tuple[grpc.StatusCode, str]:
        path = "/muster.v1.SchedulerService/SubmitStream"
        stream: Any = target.channel.stream_stream(path)()
        await stream.write(good)
        await stream.write(b"\xff\xff")
        async with asyncio.timeout(10):
            try:
                while await stream.read() is not grpc.aio.EOF:
                    pass
            except grpc.aio.AioRpcError:
                pass
            return await stream.code(), await stream.details()

    ends = {target.run(once()) for _ in range(REPEATS)}
    assert ends == {(grpc.StatusCode.INVALID_ARGUMENT, "the message could not be parsed")}
