"""The scheduler's end of one link: what is about to be sent to an executor."""

from __future__ import annotations

import asyncio

from muster.v1.link_pb2 import SessionItems
from muster.v1.link_service_pb2 import LinkResponse


class LinkPeer:
    """Collects items by session until the link's writer takes them: frames batch by themselves."""

    def __init__(self, executor: str, incarnation: int) -> None:
        self.executor = executor
        self.incarnation = incarnation
        self.sessions: set[str] = set()
        self.superseded = False
        self._closed = False
        self._frame = LinkResponse()  # what goes next, made in place
        self._pending: dict[str, SessionItems] = {}  # its items, by session
        self._wake = asyncio.Event()
        self._frame_seq = 0
        self.seen_seq = 0

    def items_for(self, session_id: str) -> SessionItems:
        """What is being collected for a session; append to it."""
        items = self._pending.get(session_id)
        if items is None:
            items = self._pending[session_id] = self._frame.items.add()
            items.session_id = session_id
            self._wake.set()
        return items

    def close(self) -> None:
        """A newer incarnation of the executor has taken over."""
        self.superseded = True
        self._wake.set()

    def hang_up(self) -> None:
        """The executor has closed its side."""
        self._closed = True
        self._wake.set()

    async def next_frame(self) -> LinkResponse | None:
        """The next frame; None when the link is to be closed."""
        await self._wake.wait()
        self._wake.clear()
        if self.superseded or self._closed:
            return None
        frame, self._frame, self._pending = self._frame, LinkResponse(), {}
        self._frame_seq += 1
        frame.frame_seq, frame.seen_seq = self._frame_seq, self.seen_seq
        return frame
