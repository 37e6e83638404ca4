"""Waiting for a slot, and the jobs that do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from muster.agent.capability import Capability
from muster.agent.context import Facts
from muster.agent.values import Content
from muster.agent.workers.pipe import Message
from muster.agent.workers.slots import Slots


class Job(Protocol):
    """An attempt at a sync capability, as those see it who run it."""

    @property
    def key(self) -> Hashable: ...

    @property
    def capability(self) -> Capability: ...

    @property
    def facts(self) -> Facts: ...

    @property
    def cancel_code(self) -> str | None: ...

    def started(self) -> None:
        """Its code begins to run."""

    def tell(self, message: Message) -> None:
        """Its code has said something."""

    async def serve(self, message: Message) -> tuple[dict[str, Any], Sequence[Content]]:
        """Its code has asked something; returns the answer."""


class Turns:
    """Slots, and those who wait for one."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._waiting: dict[Hashable, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def turn(self, who: Hashable, depth: int) -> AsyncIterator[None]:
        """Waits for a slot, and holds it while the block runs."""
        await self._wait(who, depth)
        try:
            yield
        finally:
            self._slots.release()
            self._admit()

    def suspend(self, depth: int) -> None:
        """A holder waits for children: another may have its slot."""
        self._slots.suspend(depth)
        self._admit()

    def resume(self, depth: int) -> None:
        """It goes on, with or without a free slot."""
        self._slots.resume(depth)

    async def _wait(self, who: Hashable, depth: int) -> None:
        turn = self._waiting[who] = asyncio.get_running_loop().create_future()
        self._slots.ask(who, depth)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(who, None) is not None:
                self._slots.withdraw(who)
            elif not turn.cancelled():  # it got its slot, and was cancelled before it knew
                self._slots.release()
            self._admit()
            raise

    def _admit(self) -> None:
        while admitted := self._slots.admit():
            for who in admitted:
                turn = self._waiting.pop(who)
                if turn.cancelled():
                    self._slots.release()
                else:
                    turn.set_result(None)
