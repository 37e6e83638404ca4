"""Look-ups by key that are made together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from muster.runtime.lifetime import background
from muster.runtime.together import Together


class Store:
    """Answers when its gate is open, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def load(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.asked.append(list(keys))
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {key: str(key) for key in keys if key < 100}


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def together(store: Store) -> AsyncIterator[Together[int, str]]:
    together = Together(store.load, 3)
    async with background(together.run):
        yield together


async def test_what_is_asked_for_in_one_turn_is_one_question(
    store: Store, together: Together[int, str]
) -> None:
    answers = await asyncio.gather(*(together.get(key) for key in (1, 2, 2, 500)))
    assert answers == ["1", "2", "2", None]
    assert store.asked == [[1, 2, 500]]


async def test_what_is_asked_for_meanwhile_is_the_next_question_in_parts(
    store: Store, together: Together[int, str]
) -> None:
    store.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(together.get(1))
        await store.begun.wait()
        # The same key again: what is known of it by then may be newer.
        more = [tasks.create_task(together.get(key)) for key in (1, 2, 3, 4)]
        await asyncio.sleep(0)
        assert store.asked == [[1]]
        store.gate.set()
    assert [each.result() for each in (first, *more)] == ["1", "1", "2", "3", "4"]
    assert store.asked == [[1], [1, 2, 3], [4]]


async def test_an_error_is_told_to_all_that_asked_and_to_nobody_later(
    store: Store, together: Together[int, str]
) -> None:
    store.error = ValueError("away")
    told = await asyncio.gather(together.get(1), together.get(2), return_exceptions=True)
    assert [str(each) for each in told] == ["away", "away"]
    store.error = None
    assert await together.get(1) == "1"


async def test_one_that_gives_up_takes_nothing_from_the_others(
    store: Store, together: Together[int, str]
) -> None:
    store.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        one, other = (tasks.create_task(together.get(1)) for _ in range(2))
        await store.begun.wait()
        one.cancel()
        await asyncio.wait([one])
        store.gate.set()
    assert other.result() == "1"


async def test_whoever_waits_at_the_end_is_cancelled(store: Store) -> None:
    store.gate.clear()
    together = Together(store.load, 1)
    async with asyncio.TaskGroup() as tasks:
        async with background(together.run):
            waiting = [tasks.create_task(together.get(key)) for key in (1, 2)]
            await store.begun.wait()
        await asyncio.wait(waiting)
    assert all(each.cancelled() for each in waiting)
