"""The session pump: reads a host's frames, and writes what has accumulated for it.

Reading never waits: a frame is processed in one go, and whatever follows from it goes to outboxes.
Writing goes on by itself: a frame holds what came together while the one before was written, so a
single idle item goes out at once, and under load the frames grow. No timer is involved.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import grpc

from muster.executor.core import Core
from muster.executor.core_state import Session
from muster.executor.pump_events import Events
from muster.executor.pump_frames import Identity, next_frame
from muster.executor.pump_hello import Greeter
from muster.executor.pump_items import FrameReader
from muster.executor.spans import DispatchSpans
from muster.model import limits
from muster.model.errors import FailedPrecondition, MusterError, Unavailable
from muster.runtime.lifetime import Owned
from muster.runtime.principal import Principal
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse

# How long hosts that read slowly may take to hear that their stream ends.
_CLOSE_SECONDS: Final = 1.0


class _Stream:
    """One open Connect stream."""

    __slots__ = ("failure", "has_news", "overdue", "reaped", "swept_seq", "task", "writing")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.has_news = asyncio.Event()
        self.failure: Exception | None = None  # what the read path found
        self.writing = False
        self.overdue = False  # it is to end, and was still writing at the last sweep
        self.reaped = False
        self.swept_seq = 0  # the frame that it was at when it was last swept

    def ending(self, end: tuple[str, str]) -> Exception:
        """How the stream ends: with what the read path found, or with this reason and message."""
        return self.failure or MusterError(end[1], reason=end[0] or "NOT_READY")


class Pump:
    """All streams of an executor. `flush` wakes whoever has something to write."""

    def __init__(
        self,
        core: Core,
        identity: Identity,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        flush: Callable[[], None],
        events: Events,
    ) -> None:
        self._core = core
        self.identity = identity
        self._clock = clock
        self._flush = flush
        self._spans = DispatchSpans.of_process()
        self._reader = FrameReader(core, events, wall_ms)
        self._greeter = Greeter(core, self._reader, clock, wall_ms)
        self._streams: dict[Session, _Stream] = {}
        self._closed = False
        self._all_ended = asyncio.Event()

    async def connect(
        self, principal: Principal, frames: AsyncIterator[ConnectRequest]
    ) -> AsyncIterator[ConnectResponse]:
        """One session, from its hello to the end of its stream. Raises `MusterError`."""
        if self._closed:
            raise Unavailable("the executor is going away; connect again")
        session = await self._open(principal, frames)
        stream = self._streams[session] = _Stream()
        stream.has_news.set()
        reading = Owned(self._read(session, stream, frames), f"reads session {session.id}")
        outbox = session.outbox
        try:
            while True:
                end = outbox.end
                if end is not None and end[0]:
                    raise stream.ending(end)
                frame = next_frame(session, self.identity)
                if frame is not None:
                    if self._spans is not None and frame.assignments:
                        self._spans.dispatched(session, frame.assignments, self._clock())
                    stream.writing = True
                    yield frame
                    stream.writing = False
                elif end is not None:
                    return
                else:
                    stream.has_news.clear()
                    outbox.woken = False
                    await stream.has_news.wait()
        except GeneratorExit:
            if stream.reaped and outbox.end is not None:
                raise stream.ending(outbox.end) from None
            raise
        finally:
            del self._streams[session]
            self._core.topics.end(session)
            self._core.sessions.broken(session, self._clock())
            self._flush()
            await reading.cancel()
            if not self._streams:
                self._all_ended.set()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def wake(self, session: Session) -> None:
        """There is something to write to the session's host."""
        stream = self._streams.get(session)
        if stream is not None:
            stream.has_news.set()

    async def close(self) -> None:
        """Ends every stream so that hosts connect elsewhere, takes no new ones, and returns when
        all have ended. The sessions are not over: where their hosts go decides that."""
        self._closed = True
        for session in self._streams:
            self._core.book.cut(session, "NOT_READY", "the executor is going away; connect again")
        self._flush()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._ended()
        except TimeoutError:
            self.reap(at_once=True)
            await self._ended()

    async def _ended(self) -> None:
        while self._streams:
            self._all_ended.clear()
            await self._all_ended.wait()

    def reap(self, *, at_once: bool = False) -> None:
        """Ends streams that are to end and hang in a write, because their host reads nothing. One
        that has read nothing since the last sweep, while much waits for it, is to end.

        To be called from the sweep; one that has only just begun to end has until the next, unless
        it is to be `at_once`. The host learns how its stream ended when it reads again.
        """
        for session, stream in self._streams.items():
            stuck = stream.writing and stream.swept_seq == session.out_seq
            if stuck and _waiting_bytes(session) > limits.SESSION_OUTBOX_BYTES_MAX:
                message = "the host reads nothing, and much waits for it"
                self._core.book.cut(session, "QUEUE_FULL", message)
            stream.swept_seq = session.out_seq
            if session.outbox.end is not None and stream.writing:
                if (stream.overdue or at_once) and not stream.reaped:
                    stream.reaped = True
                    stream.task.cancel()
                stream.overdue = True

    async def _open(self, principal: Principal, frames: AsyncIterator[ConnectRequest]) -> Session:
        try:
            async with asyncio.timeout(limits.HELLO_SECONDS):
                frame = await anext(frames, None)
        except TimeoutError:
            frame = None
        if frame is None:
            raise FailedPrecondition("no hello has come", reason="SESSION_PROTOCOL")
        session = await self._greeter.greet(principal, frame)
        self._flush()
        return session

    async def _read(
        self, session: Session, stream: _Stream, frames: AsyncIterator[ConnectRequest]
    ) -> None:
        reason, message = "", ""
        try:
            async for frame in frames:
                if session.outbox.end is not None:
                    return
                if frame.HasField("hello"):
                    raise FailedPrecondition("hello came twice", reason="SESSION_PROTOCOL")
                self._reader.apply(session, frame, self._clock())
                self._flush()
        except MusterError as error:
            stream.failure = error
            reason, message = error.reason, error.message
        except grpc.aio.BaseError:
            pass  # the host has gone; its stream ends by itself
        except Exception as error:  # noqa: BLE001 - a defect: raised by `connect`, which ends
            stream.failure = error
            reason = "INTERNAL"
        self._core.book.cut(session, reason, message)
        self._flush()


def _waiting_bytes(session: Session) -> int:
    """How many bytes of assignments wait to be written to the host."""
    return sum(
        lease.size
        for agent in session.outbox.ring
        for lease in agent.queue or ()
        if lease.assignment is not None
    )
