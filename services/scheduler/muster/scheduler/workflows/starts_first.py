"""Starts before steps: whoever starts many runs at once is not kept waiting by their steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# So long at most are steps held back, and so long, too, they then go on whoever starts what.
HELD_SECONDS = 0.05


class StartsFirst:
    """Holds a turn of an engine back while starts are under way: steps would have the ledger's
    commits, and this process, to themselves for longer than the starts take all together."""

    def __init__(self) -> None:
        self._under_way = 0
        self._held: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0  # of the last time that something was held, at the latest

    @contextmanager
    def starting(self) -> Iterator[None]:
        """A start is under way, from its look at the ledger to its commit."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._release()

    def turn_soon(self, turn: Callable[[], None]) -> None:
        """Have this called in another turn of the event loop, after the starts that are under way
        but soon in any case. One may wait at a time."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._under_way and now >= self._until + HELD_SECONDS:
            self._until = now + HELD_SECONDS
        if not self._under_way or now >= self._until:
            loop.call_soon(turn)
            return
        assert self._held is None
        self._held = turn
        self._timer = loop.call_at(self._until, self._release)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        turn, self._held = self._held, None
        if turn is not None:
            asyncio.get_running_loop().call_soon(turn)
