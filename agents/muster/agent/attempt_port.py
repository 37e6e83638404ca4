"""What the code of an attempt can say and ask, at the host that runs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from muster.agent.children import Child, Children, gather_contents
from muster.agent.contents import fetch, fill
from muster.agent.context import Usage
from muster.agent.delegation import Call
from muster.agent.inquiry import Inquiry
from muster.agent.remembering import Consulted
from muster.agent.text import cut
from muster.agent.topics.event import Publication
from muster.agent.values import Content, chunk_content, input_content, value_of
from muster.v1.event_pb2 import StreamItem
from muster.v1.payload_pb2 import Payload

if TYPE_CHECKING:
    from muster.agent.attempt import Attempt
    from muster.agent.blobs import Blobs
    from muster.agent.client import Client

PROGRESS_MESSAGE_BYTES_MAX = 1024
LOG_MESSAGE_BYTES_MAX = 8192


class AttemptPort:
    """The port of an attempt's context, made for the attempts that ask for one."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._children: Children | None = None
        self._room: asyncio.Event | None = None
        self.chunks = 0
        self._published = 0
        self.usage: Usage | None = None

    @property
    def cancel_code(self) -> str | None:
        return self._attempt.cancel_code

    @property
    def children(self) -> Children:
        if self._children is None:
            self._children = Children(self._attempt)
        return self._children

    def close(self) -> None:
        """The attempt is over."""
        if self._children is not None:
            self._children.forget()

    # --- stream items -----------------------------------------------------------------------------

    def progress(self, fraction: float, message: str) -> None:
        item = StreamItem()
        item.progress.fraction = fraction
        item.progress.message = cut(message, PROGRESS_MESSAGE_BYTES_MAX)
        self._emit_or_drop(item)

    def log(self, level: int, message: str) -> None:
        item = StreamItem()
        item.log.level = level  # type: ignore[assignment]
        item.log.message = cut(message, LOG_MESSAGE_BYTES_MAX)
        self._emit_or_drop(item)

    def use(self, usage: Usage) -> None:
        self.usage = usage if self.usage is None else self.usage.plus(usage)

    async def output(self, value: Any) -> None:
        await self.output_content(chunk_content(self._attempt.capability, value))

    async def output_content(self, content: Content) -> None:
        """Delivers a part of the output; waits while the window is full."""
        core, lease = self._attempt.work.core, self._attempt.lease
        payload = Payload()
        await fill(payload, content, self._attempt.work.blobs)
        item = StreamItem()
        item.output.payload.CopyFrom(payload)
        size = self._stamp(item)
        while not core.has_room(lease, size):
            if self._room is None:
                self._room = asyncio.Event()
            await self._room.wait()
        item.output.chunk = self.chunks
        self.chunks += 1
        self._emit(item, size)

    def has_room(self) -> None:
        """The window has room again."""
        if self._room is not None:
            self._room.set()
            self._room = None

    def _emit_or_drop(self, item: StreamItem) -> None:
        core = self._attempt.work.core
        size = self._stamp(item)
        if core.has_room(self._attempt.lease, size):
            self._emit(item, size)
        else:
            core.items_dropped += 1

    def _stamp(self, item: StreamItem) -> int:
        """Fills in what every item has, as far as it is known; returns the item's size in bytes."""
        item.contract_id, item.epoch = self._attempt.lease.key
        seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
        item.time.seconds, item.time.nanos = seconds, nanos
        item.index = self._attempt.lease.index + 1
        return item.ByteSize()

    def _emit(self, item: StreamItem, size: int) -> None:
        work, lease = self._attempt.work, self._attempt.lease
        item.index = lease.index + 1
        work.core.emit(lease, item, size)
        work.wake()

    async def publish(self, publication: Publication) -> None:
        lease = self._attempt.lease
        self._published += 1
        number = publication.id or f"{lease.key[1]}.{self._published}"
        publisher = self._attempt.work.topics.publisher
        traceparent = self._attempt.facts.traceparent
        await publisher.publish(lease.agent, publication, number, lease.key, traceparent)

    async def ask(self, inquiry: Inquiry) -> Content:
        """The answer that the assignment has, or else the attempt's end."""
        for answer in self._attempt.assignment.answers:
            if answer.question_id == inquiry.id:
                return await fetch(answer.value, self._attempt.work.blobs)
        self._attempt.ask(inquiry)
        # Its task has been cancelled, and with it whatever waits here.
        never: asyncio.Future[Content] = asyncio.get_running_loop().create_future()
        return await never

    async def consult(
        self, what: str, args: Mapping[str, Any], contents: Sequence[Content] = ()
    ) -> Consulted:
        """What is asked about the past; see `remembering`."""
        lease, consultant = self._attempt.lease, self._attempt.work.consultant
        return await consultant.consult(lease.agent, lease.key[0], what, args, contents)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """The attempt's slot is free while the block runs."""
        self._attempt.begin_waiting()
        try:
            yield
        finally:
            self._attempt.end_waiting()

    @property
    def client(self) -> Client:
        return self._attempt.work.client

    def hold_state(self, name: str) -> AbstractAsyncContextManager[None]:
        """Takes turns with the agent's other code in changing a state."""
        return self._attempt.work.consultant.hold(self._attempt.lease.agent, name)

    # --- children and blobs -----------------------------------------------------------------------

    async def submit(self, call: Call) -> Child:
        return await self.children.submit(call, input_content(call.input))

    async def submit_content(self, call: Call, content: Content, traceparent: str) -> str:
        """Delegates; returns the child's key."""
        return (await self.children.submit(call, content, traceparent)).key

    async def gather(self, handles: Sequence[Any]) -> list[Any]:
        contents = await gather_contents(list(handles), self._attempt)
        return [value_of(content) for content in contents]

    async def gather_contents(self, keys: Sequence[str]) -> list[Content]:
        """Waits for children's outputs. Raises `ChildFailed`."""
        return await gather_contents([self.children.by_key(key) for key in keys], self._attempt)

    @property
    def blobs(self) -> Blobs:
        return self._attempt.work.blobs
