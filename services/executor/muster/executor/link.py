"""Keeps one link to each scheduler.

A link is one streaming call, `LinkService.Link`, over gRPC or straight into a scheduler of the same
process: both have the same shape. It starts with the whole level, goes on with whatever has
accumulated while the frame before was being written, and when it ends it is dialled again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import grpc

from muster.executor.core import Core
from muster.executor.core_state import LinkOutbox
from muster.executor.link_frames import apply_response, next_request, size_of
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
    """Who dials: an executor, as its links' hellos name it, and what it gives them to work with."""

    executor: str
    incarnation: int
    address: str
    core: Core
    clock: Callable[[], float]  # the core's, in seconds
    wall: Callable[[], float]  # Unix time in seconds
    flush: Callable[[], None]  # wakes whoever has something to write
    changed: Callable[[], None]  # hears when a link stands, and when it is broken
    # Hears who a link's scheduler is, and who else there is: link, scheduler, name -> target.
    welcomed: Callable[[str, str, Mapping[str, str]], None] = lambda *_: None


class Link:
    """One executor's side of one link. `run` it until it is cancelled."""

    def __init__(self, name: str, call: CallLink, dialler: Dialler) -> None:
        self._call = call
        self._dialler = dialler
        self._core = dialler.core
        self._outbox: LinkOutbox = dialler.core.book.links[name]
        self._contact = Contact()

    def wake(self) -> None:
        """There is something to write."""
        self._contact.wake()

    async def run(self) -> None:
        """Dials, relays, and dials again with jitter when the link has ended."""
        scheduler = self._outbox.name
        while True:
            began = self._dialler.clock()
            try:
                await self._relay()
                _log.info("a link has ended", scheduler=scheduler)
            except MusterError as error:
                _log.info("a link is broken", scheduler=scheduler, error=error.message)
            except grpc.RpcError as error:
                text = error_of_rpc(error).message
                _log.info("a link is broken", scheduler=scheduler, error=text)
            except TimeoutError:
                _log.info("a link is not answered", scheduler=scheduler)
            except Exception:  # noqa: BLE001 - logged; whatever it was, the next one may work
                _log.exception("a link has failed", scheduler=scheduler)
            pause = random.uniform(limits.RELINK_SECONDS_MIN, limits.RELINK_SECONDS_MAX)
            await asyncio.sleep(max(0.0, began + pause - self._dialler.clock()))

    async def _relay(self) -> None:
        """One link, from its hello to its end."""
        scheduler, outbox = self._core.scheduler, self._outbox
        contact = self._contact = Contact()
        scheduler.link_up(outbox, size_of)
        try:
            async with (
                asyncio.timeout(limits.HELLO_SECONDS) as until_welcome,
                closing(self._call(self._requests(contact))) as responses,
            ):
                async for response in responses:
                    if response.HasField("welcome"):
                        until_welcome.reschedule(None)
                        welcome = response.welcome
                        scheduler.link_answered(outbox, welcome.shards, size_of)
                        self._dialler.welcomed(outbox.name, welcome.scheduler, welcome.schedulers)
                        self._dialler.changed()
                    apply_response(self._core, outbox, response, self._dialler.clock())
                    contact.seen = response.frame_seq
                    self._dialler.flush()
        finally:
            contact.close()
            scheduler.link_down(outbox)
            self._dialler.changed()

    async def _requests(self, contact: Contact) -> AsyncIterator[LinkRequest]:
        frame: LinkRequest | None = self._first_request()
        seq = 0
        while True:
            if frame is not None:
                seq += 1
                frame.frame_seq = seq
                frame.seen_seq = contact.seen
                yield frame
            else:
                self._outbox.woken = False
                await contact.news()
            if contact.over:
                return
            frame = next_request(self._outbox, self._dialler.wall)

    def _first_request(self) -> LinkRequest:
        frame = next_request(self._outbox, self._dialler.wall) or LinkRequest()
        frame.hello.CopyFrom(
            LinkHello(
                protocol_version=PROTOCOL_VERSION,
                executor=self._dialler.executor,
                incarnation=self._dialler.incarnation,
                address=self._dialler.address,
            )
        )
        return frame


class Contact:
    """One call of those that follow each other. What still reads an older one ends by itself."""

    def __init__(self) -> None:
        self.over = False
        self.seen = 0  # the peer's last frame, fully processed
        self._has_news = asyncio.Event()

    async def news(self) -> None:
        """Waits until there is something to write, or the call is over."""
        await self._has_news.wait()
        self._has_news.clear()

    def wake(self) -> None:
        """There is something to write."""
        self._has_news.set()

    def close(self) -> None:
        """The call is over."""
        self.over = True
        self._has_news.set()


@asynccontextmanager
async def closing(responses: AsyncIterator[_T]) -> AsyncIterator[AsyncIterator[_T]]:
    """Closes a stream of responses at the end of the block, as far as it can be closed."""
    try:
        yield responses
    finally:
        close = getattr(responses, "aclose", None)
        if close is not None:
            await close()
