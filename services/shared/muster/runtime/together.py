"""Look-ups by key that are made together, where many ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Together(Generic[K, V]):
    """Asks for many keys in one question.

    There is no timer: what is asked for in one turn of the event loop, or while a question is under
    way, is asked for in the next one. One question is under way at a time.
    """

    def __init__(
        self, load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], keys_max: int
    ) -> None:
        """`load` finds what there is of at most so many keys; it may leave out what is not there.
        What it raises, all that asked for one of these keys are told."""
        self._load = load
        self._keys_max = keys_max
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """What there is by this key, asked for after this call; None: nothing."""
        answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        try:
            while self._waiting:
                keys = list(self._waiting)[: self._keys_max]
                asked = {key: self._waiting.pop(key) for key in keys}
                await self._answer(asked)
        finally:
            self._asking = None

    async def _answer(self, asked: dict[K, list[asyncio.Future[V | None]]]) -> None:
        found: Mapping[K, V] = {}
        error: BaseException | None = None
        try:
            found = await self._load(list(asked))
        except asyncio.CancelledError:
            for answers in asked.values():
                for answer in answers:
                    answer.cancel()
            raise
        except Exception as raised:  # noqa: BLE001 - whoever asked is told
            error = raised
        for key, answers in asked.items():
            for answer in answers:
                if answer.done():  # who asked does not wait any more
                    continue
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(found.get(key))
