"""Look-ups by key that are made together, where many ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Together(Generic[K, V]):
    """Asks for many keys in one question, while `run` runs.

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
        self._asked: dict[K, list[asyncio.Future[V | None]]] = {}  # that are being looked up
        self._something = asyncio.Event()

    async def get(self, key: K) -> V | None:
        """What there is by this key, asked for after this call; None: nothing."""
        answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        self._something.set()
        return await answer

    async def run(self) -> None:
        """Without end. At its end, whoever waits is cancelled."""
        try:
            while True:
                await self._something.wait()
                keys = list(self._waiting)[: self._keys_max]
                self._asked = {key: self._waiting.pop(key) for key in keys}
                if not self._waiting:
                    self._something.clear()
                await self._answer()
        finally:
            for answers in (*self._asked.values(), *self._waiting.values()):
                for answer in answers:
                    answer.cancel()

    async def _answer(self) -> None:
        found: Mapping[K, V] = {}
        error: Exception | None = None
        try:
            found = await self._load(list(self._asked))
        except Exception as raised:  # noqa: BLE001 - whoever asked is told
            error = raised
        for key, answers in self._asked.items():
            for answer in answers:
                if answer.done():  # who asked does not wait any more
                    continue
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(found.get(key))
        self._asked = {}
