"""Reads the frames of a host: each item is checked, and handed to the core or refused by its id.

An item that names a lease of the session needs no check of its key: that the core knows it proves
it. What is common is checked by hand; what is not obviously right goes to the full check, which
also finds the words for what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from google.protobuf.message import Message

from muster.executor.core import Core
from muster.executor.core_host import FENCED
from muster.executor.core_state import Item, Key, Session
from muster.executor.pump_events import Events
from muster.executor.specs import kept_spec
from muster.failpoints import failpoint
from muster.model import limits
from muster.model.errors import (
    Fenced,
    InvalidArgument,
    MusterError,
    ResourceExhausted,
)
from muster.runtime.validation import check
from muster.v1.event_pb2 import StreamItem
from muster.v1.executor_service_pb2 import ConnectRequest
from muster.v1.payload_pb2 import Payload
from muster.v1.session_pb2 import (
    REPORT_VERDICT_REFUSED,
    AttachAgent,
    AttachResult,
    AttemptKey,
    Heartbeat,
    ItemRefusal,
    Report,
    ReportAck,
)
from muster.wire.errors import status_of

# A frame of ordinary items closes at 64 KiB, or holds one larger item.
FRAME_BYTES_MAX: Final = limits.FRAME_BYTES_MAX + limits.ITEM_BYTES_MAX
# Shorter text is short enough in any encoding: a character has at most 4 bytes.
_JSON_CHARACTERS_SURE: Final = limits.PAYLOAD_INLINE_BYTES_MAX // 4
_TEXT_CHARACTERS_SURE: Final = 256
_LOG_LEVEL_MAX: Final = 4


class FrameReader:
    """Applies frames to the core, in the documented order, without waiting for anything."""

    def __init__(self, core: Core, events: Events, wall_ms: Callable[[], int]) -> None:
        self._core = core
        self._events = events
        self._wall_ms = wall_ms

    def apply(self, session: Session, frame: ConnectRequest, now: float) -> None:
        """One frame after the hello. Raises `MusterError` where the stream must end."""
        size = frame.ByteSize()
        self._core.host.frame(session, now, frame.frame_seq, frame.seen_seq, size)
        check_size(frame, size)
        if frame.attaches or frame.detaches:
            self._agents(session, frame)
        self.items(session, frame, size, now)

    def items(self, session: Session, frame: ConnectRequest, size: int, now: float) -> None:
        """Everything of a frame but its hello and its agents."""
        host = self._core.host
        if frame.accepts:
            self._keys(session, frame.accepts, "accepts", host.accept)
        if frame.starts:
            self._keys(session, frame.starts, "starts", host.start)
        if frame.items:
            self._stream_items(session, frame.items)
        if frame.suspends:
            self._keys(session, frame.suspends, "suspends", host.suspend)
        if frame.resumes:
            self._keys(session, frame.resumes, "resumes", host.resume)
        for returned in frame.returns:
            self._one(session, returned.key, returned, "returns", host.give_back)
        if frame.reports:
            self._core.book.counts.reports += len(frame.reports)
            self._reports(session, frame.reports, large=size > limits.ITEM_BYTES_MAX)
        for stopped in frame.stops:
            self._one(session, stopped.key, stopped, "stops", host.stop)
        if frame.event_acks:
            self._events.acknowledge(session, frame.event_acks)
        if frame.publishes:
            self._events.publish(session, frame.publishes)
        if frame.HasField("heartbeat"):
            self._heartbeat(session, frame.heartbeat, now)
        if frame.leaving:
            self._core.sessions.leave(session)
            self._core.topics.close(session)
        host.processed(session, frame.frame_seq)

    # --- agents -----------------------------------------------------------------------------------

    def attach(self, session: Session, attach: AttachAgent) -> None:
        """Attaches one agent, or says why not."""
        spec = attach.spec
        try:
            check(attach)
            offered = (capability.name for capability in spec.capabilities)
            session.caller.require_agent(spec.name, offered)
            size = spec.ByteSize()
            if size > limits.ITEM_BYTES_MAX:
                message = f"the agent has {size} bytes, and {limits.ITEM_BYTES_MAX} are allowed"
                raise ResourceExhausted(message, reason="MESSAGE_TOO_LARGE")
            wishes = self._events.admit(session, spec)
            self._core.sessions.attach(
                session, spec.name, spec.max_in_flight, size, kept_spec(spec), self._wall_ms()
            )
            self._events.subscribe(session, spec.name, wishes)
        except MusterError as error:
            result = AttachResult(agent=spec.name[:128], error=status_of(error))
            session.outbox.attach_results.append(result)
            self._core.book.wake(session)

    def _agents(self, session: Session, frame: ConnectRequest) -> None:
        for attach in frame.attaches:
            self.attach(session, attach)
        for detach in frame.detaches:
            # One that is not there is not refused: what was asked for is so already.
            self._core.sessions.detach(session, detach.name)

    # --- attempts ---------------------------------------------------------------------------------

    def _keys(
        self,
        session: Session,
        keys: Iterable[AttemptKey],
        field: str,
        apply: Callable[[Session, Key, Item], str | None],
    ) -> None:
        for key in keys:
            reason = apply(session, (key.contract_id, key.epoch), key)
            if reason is not None:
                self._refuse(session, key, field, _error(reason, key))

    def _one(
        self,
        session: Session,
        key: AttemptKey,
        item: Message,
        field: str,
        apply: Callable[[Session, Key, Item], str | None],
    ) -> None:
        try:
            check(item)
        except InvalidArgument as error:
            self._refuse(session, key, field, error)
            return
        reason = apply(session, (key.contract_id, key.epoch), item)
        if reason is not None:
            self._refuse(session, key, field, _error(reason, key))

    def _stream_items(self, session: Session, items: Iterable[StreamItem]) -> None:
        host = self._core.host
        for item in items:
            size = item.ByteSize()
            try:
                if not _is_obviously_right(item):
                    check(item)
                if size > limits.ITEM_BYTES_MAX:
                    raise _too_large(size)
            except MusterError as error:
                self._refuse(session, _key_of(item), "items", error)
                continue
            key = (item.contract_id, item.epoch)
            reason = host.stream_item(session, key, item.index, size, item)
            if reason is not None:
                self._refuse(session, _key_of(item), "items", _error(reason, _key_of(item)))

    @failpoint("report_unrelayed")
    def _reports(self, session: Session, reports: Iterable[Report], *, large: bool) -> None:
        host, leases = self._core.host, session.leases
        for report in reports:
            attempt = report.key
            key = (attempt.contract_id, attempt.epoch)
            try:
                if key not in leases or not _is_plain(report):
                    check(report)
                if large and report.ByteSize() > limits.ITEM_BYTES_MAX:
                    raise _too_large(report.ByteSize())
                reason = host.report(session, key, report)
                if reason is not None:
                    raise _error(reason, attempt)
            except MusterError as error:
                ack = ReportAck(key=attempt, verdict=REPORT_VERDICT_REFUSED, error=status_of(error))
                session.outbox.report_acks.append(ack)
                self._core.book.wake(session)

    def _heartbeat(self, session: Session, heartbeat: Heartbeat, now: float) -> None:
        host = self._core.host
        host.heartbeat(session, now)
        for held in heartbeat.held:
            key = held.key
            host.held(session, (key.contract_id, key.epoch), held.state, key)
        host.heartbeat_end(session)

    def _refuse(self, session: Session, key: AttemptKey, field: str, error: MusterError) -> None:
        self._core.book.counts.refusals += 1
        cut = AttemptKey(contract_id=key.contract_id[:64], epoch=key.epoch)
        refusal = ItemRefusal(key=cut, field=field, error=status_of(error))
        session.outbox.refusals.append(refusal)
        self._core.book.wake(session)


# --- checks ---------------------------------------------------------------------------------------


def check_size(frame: ConnectRequest, size: int) -> None:
    """Raises `ResourceExhausted` for a frame of ordinary items that is too large to be relayed.
    What names leases or opens the session may be larger: it is not relayed as it is."""
    if size > FRAME_BYTES_MAX:
        size -= frame.heartbeat.ByteSize() + frame.hello.ByteSize()
        if size > FRAME_BYTES_MAX:
            message = f"besides hello and heartbeat, a frame has at most {FRAME_BYTES_MAX} bytes"
            raise ResourceExhausted(message, reason="MESSAGE_TOO_LARGE")


def _is_plain(report: Report) -> bool:
    """Whether the report needs no further check; its key is known to be right."""
    outcome = report.WhichOneof("outcome")
    if outcome == "payload":
        if not _is_small_json(report.payload):
            return False
    elif outcome is not None:
        return False
    if not report.HasField("usage"):
        return True
    usage = report.usage
    return not usage.HasField("cpu_time") and len(usage.model) <= limits.NAME_CHARACTERS_MAX


def _is_small_json(payload: Payload) -> bool:
    content = payload.WhichOneof("content")
    return content is None or (content == "json" and len(payload.json) <= _JSON_CHARACTERS_SURE)


def _is_obviously_right(item: StreamItem) -> bool:
    """Whether the item needs no further check but that its attempt is known."""
    if not item.index:
        return False
    kind = item.WhichOneof("kind")
    if kind == "log":
        line = item.log
        return 0 <= line.level <= _LOG_LEVEL_MAX and len(line.message) <= _TEXT_CHARACTERS_SURE
    if kind == "progress":
        progress = item.progress
        return -1 <= progress.fraction <= 1 and len(progress.message) <= _TEXT_CHARACTERS_SURE
    if kind == "output":
        chunk = item.output
        return chunk.HasField("payload") and _is_small_json(chunk.payload)
    return False


def _error(reason: str, key: AttemptKey) -> MusterError:
    """Why the core refuses; a malformed key is named as such."""
    if reason == FENCED:
        try:
            check(key)
        except InvalidArgument as error:
            return error
        return Fenced("this session does not hold that attempt")
    return ResourceExhausted("too many unacknowledged items; wait for their acknowledgements")


def _too_large(size: int) -> MusterError:
    message = f"the item has {size} bytes, and {limits.ITEM_BYTES_MAX} are allowed"
    return ResourceExhausted(message, reason="MESSAGE_TOO_LARGE")


def _key_of(item: StreamItem) -> AttemptKey:
    return AttemptKey(contract_id=item.contract_id, epoch=item.epoch)
