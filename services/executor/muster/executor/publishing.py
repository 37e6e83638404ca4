"""Publishes for agents: what they say, and what happens to them.

Events go to the bus in the order in which they came, many at a time. A bus that does not answer
costs those that publish a few seconds and an error; what waits for it is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from muster.backends.bus_base import Bus, BusUnavailable, Message
from muster.executor.core_book import Book
from muster.executor.core_state import Session
from muster.model import limits
from muster.model.errors import MusterError, ResourceExhausted
from muster.v1.topic_pb2 import Publish, PublishResult
from muster.wire.errors import status_of

_AWAY: Final = "the bus does not answer; what was published may be there all the same"


class _Waiting(NamedTuple):
    message: Message
    session: Session | None  # that hears what became of it
    publish: Publish | None


class Publishing:
    """Use it while `run` runs."""

    def __init__(self, book: Book, bus: Bus) -> None:
        self._book = book
        self._bus = bus
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(
        self, message: Message, session: Session | None = None, publish: Publish | None = None
    ) -> None:
        """Publish this soon, and tell the host of the session. Raises `ResourceExhausted`."""
        if session is not None and session.publishing >= limits.PUBLISHES_UNACKED_MAX:
            most = limits.PUBLISHES_UNACKED_MAX
            raise ResourceExhausted(f"a host publishes at most {most} events at once; wait")
        if (
            len(self._waiting) >= limits.PUBLISHES_WAITING_MAX
            or self._bytes + len(message.body) > limits.PUBLISHES_WAITING_BYTES_MAX
        ):
            raise ResourceExhausted("too many events wait for the bus; publish it again later")
        self._waiting.append(_Waiting(message, session, publish))
        self._bytes += len(message.body)
        if session is not None:
            session.publishing += 1
        self._some.set()

    async def run(self, flush: Callable[[], None]) -> None:
        """Publish until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                most = min(len(self._waiting), limits.BUS_BATCH_MAX)
                batch = [self._waiting.popleft() for _ in range(most)]
                acknowledged = await self._bus.publish([each.message for each in batch])
                for each, is_there in zip(batch, acknowledged, strict=True):
                    self._settle(each, is_there=is_there)
                flush()

    def _settle(self, waiting: _Waiting, *, is_there: bool) -> None:
        self._bytes -= len(waiting.message.body)
        if is_there:
            self._book.counts.publishes += 1
        else:
            self._book.counts.publish_failures += 1
        if waiting.session is not None and waiting.publish is not None:
            waiting.session.publishing -= 1
            error = None if is_there else BusUnavailable(_AWAY)
            answer(self._book, waiting.session, waiting.publish, error)


def answer(book: Book, session: Session, publish: Publish, error: MusterError | None) -> None:
    """Tell a host what became of what it has published."""
    if session.over:
        return
    result = PublishResult(
        id=publish.id[: limits.NAME_CHARACTERS_MAX],
        agent=publish.agent[: limits.NAME_CHARACTERS_MAX],
        contract_id=publish.attempt.contract_id[:64],
    )
    if error is not None:
        result.error.CopyFrom(status_of(error))
    session.outbox.publish_results.append(result)
    book.wake(session)
