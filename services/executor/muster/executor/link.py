"""Keeps one link to each scheduler.

A link is one streaming call, `LinkService.Link`, over gRPC or straight into a scheduler of the same
process: both have the same shape. It starts with the whole level, goes on with whatever has
accumulated while the frame before was being written, and when it ends it is dialled again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import grpc

from muster.executor.core import Core
from muster.executor.core_state import LinkOutbox
from muster.executor.link_frames import apply_response, next_request
from muster.model import limits
from muster.model.errors import MusterError
from muster.runtime.logs import get_logger
from muster.v1.link_pb2 import LinkHello
from muster.v1.link_service_pb2 import LinkRequest, LinkResponse
from muster.wire.errors import error_of_rpc

# LinkService.Link as an executor calls it. The frames end when the link is to end.
CallLink: TypeAlias = Callable[[AsyncIterator[LinkRequest]], AsyncIterator[LinkResponse]]

PROTOCOL_VERSION: Final = 1

_T = TypeVar("_T")

_log = get_logger("muster.executor")


@dataclass(frozen=True, slots=True)
class Dialler:
    """Who dials: an executor, as its links' hellos name it."""

    executor: str
    incarnation: int
    address: str


class Link:
    """One executor's side of one link. `run` it until it is cancelled."""

    def __init__(
        self,
        name: str,
        call: CallLink,
        core: Core,
        dialler: Dialler,
        clock: Callable[[], float],
        wall: Callable[[], float],
        flush: Callable[[], None],
    ) -> None:
        self._outbox: LinkOutbox = core.book.links[name]
        self._call = call
        self._core = core
        self._dialler = dialler
        self._clock = clock
        self._wall = wall
        self._flush = flush
        self._has_news = asyncio.Event()
        self._seen = 0

    def wake(self) -> None:
        """There is something to write."""
        self._has_news.set()

    async def run(self) -> None:
        """Dials, relays, and dials again with jitter when the link has ended."""
        scheduler = self._outbox.name
        while True:
            began = self._clock()
            try:
                await self._relay()
                _log.info("a link has ended", scheduler=scheduler)
            except MusterError as error:
                _log.info("a link is broken", scheduler=scheduler, error=error.message)
            except grpc.RpcError as error:
                text = error_of_rpc(error).message
                _log.info("a link is broken", scheduler=scheduler, error=text)
            except Exception:  # noqa: BLE001 - logged; whatever it was, the next one may work
                _log.exception("a link has failed", scheduler=scheduler)
            pause = random.uniform(limits.RELINK_SECONDS_MIN, limits.RELINK_SECONDS_MAX)
            await asyncio.sleep(max(0.0, began + pause - self._clock()))

    async def _relay(self) -> None:
        """One link, from its hello to its end."""
        outbox, self._seen = self._outbox, 0
        self._core.scheduler.link_up(outbox)
        contact = Contact()
        try:
            async with closing(self._call(self._requests(contact))) as responses:
                async for response in responses:
                    if response.HasField("welcome"):
                        shards = frozenset(response.welcome.shards)
                        self._core.scheduler.link_answered(outbox, shards)
                    apply_response(self._core, outbox, response, self._clock())
                    self._seen = response.frame_seq
                    self._flush()
        finally:
            self._core.scheduler.link_down(outbox)
            contact.over = True
            self._has_news.set()

    async def _requests(self, contact: Contact) -> AsyncIterator[LinkRequest]:
        outbox = self._outbox
        frame = next_request(outbox, self._wall) or LinkRequest()
        frame.hello.CopyFrom(
            LinkHello(
                protocol_version=PROTOCOL_VERSION,
                executor=self._dialler.executor,
                incarnation=self._dialler.incarnation,
                address=self._dialler.address,
            )
        )
        seq = 0
        while not contact.over:
            seq += 1
            frame.frame_seq = seq
            frame.seen_seq = self._seen
            yield frame
            while (following := next_request(outbox, self._wall)) is None and not contact.over:
                outbox.woken = False
                self._has_news.clear()
                await self._has_news.wait()
            if following is not None:
                frame = following


class Contact:
    """Whether one call, of those that follow each other, is over."""

    def __init__(self) -> None:
        self.over = False


@asynccontextmanager
async def closing(responses: AsyncIterator[_T]) -> AsyncIterator[AsyncIterator[_T]]:
    """Closes a stream of responses at the end of the block, as far as it can be closed."""
    try:
        yield responses
    finally:
        close = getattr(responses, "aclose", None)
        if close is not None:
            await close()
