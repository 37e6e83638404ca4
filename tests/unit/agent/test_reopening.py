"""What a watch does when its stream ends, breaks, or nobody listens any more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest
from grpc.aio import AioRpcError, Metadata

from muster.agent.reopening import reopened
from muster.model.errors import Code, MusterError
from muster.wire.errors import GRPC_CODES, PASSING


class Stream:
    """A call that gives these frames and then ends, or breaks with a code."""

    def __init__(self, *frames: int, code: Code | None = None) -> None:
        self._frames = frames
        self._code = code
        self.cancelled = False

    async def __aiter__(self) -> AsyncGenerator[int, None]:
        for frame in self._frames:
            yield frame
        if self._code is not None:
            raise AioRpcError(GRPC_CODES[self._code], Metadata(), Metadata(), "broken")

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.agent.reopening.reconnect_pause", lambda failures, fraction: 0.0)


def opening(*streams: Stream) -> Callable[[], Any]:
    left = iter(streams)
    return lambda: cast(Any, next(left))


async def test_a_watch_goes_on_with_another_stream_when_one_ends_or_breaks():
    streams = [Stream(1, 2), Stream(3, code=Code.UNAVAILABLE), Stream(4, code=Code.ABORTED)]
    watch = reopened(opening(*streams, Stream(5)))
    async with aclosing(watch) as frames:
        assert [await anext(frames) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert all(stream.cancelled for stream in streams)


@pytest.mark.parametrize(("code", "passing"), [(Code.NOT_FOUND, None), (Code.ABORTED, PASSING)])
async def test_a_watch_ends_with_an_error_that_does_not_pass(
    code: Code, passing: frozenset[Code] | None
):
    begin = opening(Stream(1, code=code), Stream(2))
    watch = reopened(begin) if passing is None else reopened(begin, passing)
    assert await anext(watch) == 1
    with pytest.raises(MusterError, match="broken") as caught:
        await anext(watch)
    assert caught.value.code is code


async def test_the_stream_of_a_watch_that_is_closed_is_cancelled():
    stream = Stream(1, 2)
    async with aclosing(reopened(opening(stream))) as frames:
        assert await anext(frames) == 1
        assert not stream.cancelled
    assert stream.cancelled
