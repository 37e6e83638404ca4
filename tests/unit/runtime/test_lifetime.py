import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from muster.runtime.lifetime import Owned, background


async def test_a_background_loop_ends_with_its_block():
    ended = asyncio.Event()

    async def loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background(loop):
        await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()


async def test_a_loop_that_fails_ends_the_block_with_its_own_error():
    async def loop() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        async with background(loop):
            await asyncio.Event().wait()


async def test_what_the_block_raises_comes_out_as_it_is():
    async def loop() -> None:
        await asyncio.Event().wait()

    with pytest.raises(KeyError):
        async with background(loop):
            raise KeyError


async def test_a_loop_that_fails_while_its_generator_waits_for_its_reader_is_heard_of():
    go_on = asyncio.Event()

    async def loop() -> None:
        await go_on.wait()
        raise LookupError("gone")

    async def generator() -> AsyncGenerator[int, None]:
        async with background(loop):
            yield 1

    async def slow_reader() -> None:
        async with aclosing(generator()) as numbers:
            async for _ in numbers:
                go_on.set()
                await asyncio.Event().wait()

    with pytest.raises(LookupError, match="gone"):
        await slow_reader()


async def test_an_owned_task_is_stopped_twice_without_harm():
    owned = Owned(asyncio.Event().wait(), "forever")  # type: ignore[arg-type]
    await owned.cancel()
    await owned.cancel()
    assert owned.done


async def test_cancelling_a_waiter_does_not_cancel_an_owned_task():
    owned = Owned(asyncio.Event().wait(), "forever")  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await owned.wait()
    assert not owned.done
    await owned.cancel()
