"""The scheduler's end of one link: what is about to be sent to an executor."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

from muster.model import limits
from muster.v1.link_pb2 import LinkWelcome, SessionItems
from muster.v1.link_service_pb2 import LinkResponse

_SMALL_BYTES: Final = 64  # of what is no assignment, at most or nearly so


class LinkPeer:
    """Collects items by session until the link's writer takes them: frames batch by themselves."""

    def __init__(self, executor: str, incarnation: int) -> None:
        self.executor = executor
        self.incarnation = incarnation
        self.sessions: set[str] = set()
        self.superseded = False
        self._closed = False
        self._full: deque[LinkResponse] = deque()  # closed, and not sent yet
        self._frame = LinkResponse()  # what is being collected, in place
        self._pending: dict[str, SessionItems] = {}  # its items, by session
        self._bytes = 0  # in it, roughly
        self._wake = asyncio.Event()
        self._frame_seq = 0
        self.seen_seq = 0

    def items_for(self, session_id: str, size: int = _SMALL_BYTES) -> SessionItems:
        """What is being collected for a session; append to it an item of about `size` bytes."""
        self._bytes += size
        if self._bytes > limits.LINK_FRAME_BYTES_MAX and self._pending:
            self._full.append(self._close())
            self._bytes = size
        items = self._pending.get(session_id)
        if items is None:
            items = self._pending[session_id] = self._frame.items.add()
            items.session_id = session_id
            self._wake.set()
        return items

    def welcome(self, welcome: LinkWelcome) -> None:
        """Say what is owned from now on."""
        self._frame.welcome.CopyFrom(welcome)
        self._wake.set()

    def tell_backlog(self, waits: Mapping[tuple[str, str], int]) -> None:
        """Say how many contracts wait, by tenant and capability."""
        for (tenant, capability), queued in waits.items():
            self._frame.backlog.add(tenant=tenant, capability=capability, queued=queued)
        if waits:
            self._wake.set()

    def close(self) -> None:
        """A newer incarnation of the executor has taken over."""
        self.superseded = True
        self._wake.set()

    def hang_up(self) -> None:
        """The executor has closed its side."""
        self._closed = True
        self._wake.set()

    def _close(self) -> LinkResponse:
        frame, self._frame = self._frame, LinkResponse()
        self._pending, self._bytes = {}, 0
        return frame

    async def next_frame(self) -> LinkResponse | None:
        """The next frame; None when the link is to be closed."""
        await self._wake.wait()
        if self.superseded or self._closed:
            return None
        if self._full:
            frame = self._full.popleft()
        else:
            self._wake.clear()
            frame = self._close()
        self._frame_seq += 1
        frame.frame_seq, frame.seen_seq = self._frame_seq, self.seen_seq
        return frame
