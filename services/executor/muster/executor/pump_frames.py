"""Makes the frames that go to a host out of whatever waits in its outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from muster.executor.core_state import HostOutbox, Session
from muster.executor.pump_events import fill_events
from muster.failpoints import failpoint
from muster.model import limits
from muster.v1.executor_service_pb2 import ConnectResponse
from muster.v1.session_pb2 import (
    Assignment,
    AttemptKey,
    CancelAttempt,
    Drain,
    Endpoints,
    LeaseVerdict,
    Welcome,
)
from muster.wire.times import duration_of_seconds

_T = TypeVar("_T")

# Bytes that an item of a kind takes in a frame, at most or nearly so: two ids and some numbers;
# for the others a Status with the longest message and a name.
_SMALL_ITEM_BYTES: Final = 64
_STATUS_ITEM_BYTES: Final = 1024
_STATUS_ITEMS_MAX: Final = limits.FRAME_BYTES_MAX // _STATUS_ITEM_BYTES


@dataclass(frozen=True, slots=True)
class Identity:
    """How the executor presents itself to hosts."""

    name: str
    scheduler_address: str
    registry_address: str


def next_frame(session: Session, identity: Identity) -> ConnectResponse | None:
    """The next frame for the host, taken out of the outbox; None when there is nothing to say."""
    outbox, feed = session.outbox, session.feed
    has_events = feed is not None and feed.has_some
    if not outbox.count and not outbox.welcome and not has_events:
        return None
    frame = ConnectResponse(seen_seq=session.in_seq)
    if outbox.welcome:
        outbox.welcome = False
        frame.welcome.CopyFrom(_welcome(session, identity))
    room = limits.FRAME_BYTES_MAX
    if outbox.report_acks:
        acks = _take(outbox, outbox.report_acks)
        frame.report_acks.extend(acks)
        room -= len(acks) * _SMALL_ITEM_BYTES
    if outbox.item_acks:
        acks = _take(outbox, outbox.item_acks)
        frame.item_acks.extend(acks)
        room -= len(acks) * _SMALL_ITEM_BYTES
    room -= _add_rare(frame, outbox)
    session.out_seq += 1
    frame.frame_seq = session.out_seq
    if outbox.ring:
        frame.assignments.extend(_assignments(session, room))
    if has_events:
        room -= sum(each.ByteSize() for each in frame.assignments)
        fill_events(frame, feed.take(max(room, limits.EVENT_FRAME_BYTES_MIN)))
    return frame


def _add_rare(frame: ConnectResponse, outbox: HostOutbox) -> int:
    """Adds what seldom comes; returns the bytes it takes, roughly."""
    before = outbox.count
    if outbox.verdicts:
        frame.verdicts.extend(
            LeaseVerdict(key=AttemptKey(contract_id=key[0], epoch=key[1]), decision=decision)  # type: ignore[arg-type]
            for key, decision in _take(outbox, outbox.verdicts)
        )
    if outbox.cancels:
        frame.cancels.extend(
            CancelAttempt(key=AttemptKey(contract_id=key[0], epoch=key[1]), code=code)
            for key, code in _take(outbox, outbox.cancels)
        )
    used = (before - outbox.count) * _SMALL_ITEM_BYTES
    before = outbox.count
    if outbox.attach_results:
        frame.attach_results.extend(_take(outbox, outbox.attach_results, _STATUS_ITEMS_MAX))
    if outbox.refusals:
        frame.refusals.extend(_take(outbox, outbox.refusals, _STATUS_ITEMS_MAX))
    if outbox.publish_results:
        results = _take(outbox, outbox.publish_results)
        frame.publish_results.extend(results)
    if outbox.period is not None:
        frame.heartbeat_period.CopyFrom(duration_of_seconds(outbox.period[0]))
        frame.lease_duration.CopyFrom(duration_of_seconds(outbox.period[1]))
        outbox.period = None
        outbox.count -= 1
    if outbox.drains:
        (names, grace) = _take(outbox, outbox.drains, 1)[0]
        frame.drain.CopyFrom(Drain(agents=names, grace=duration_of_seconds(grace)))
    return used + (before - outbox.count) * _STATUS_ITEM_BYTES


def _take(outbox: HostOutbox, items: list[_T], most: int = limits.FRAME_ITEMS_MAX) -> list[_T]:
    taken = items[:most]
    del items[:most]
    outbox.count -= len(taken)
    return taken


@failpoint("assignment_unrelayed")
def _assignments(session: Session, room: int) -> list[Assignment]:
    """As many as fit, one agent after the other; at least one when nothing else is in the way."""
    outbox = session.outbox
    ring = outbox.ring
    seq = session.out_seq
    taken: list[Assignment] = []
    while ring and len(taken) < limits.FRAME_ITEMS_MAX:
        queue = ring[0].queue
        assert queue  # else it would not be in the ring
        lease = queue[0]
        item = lease.assignment
        if item is not None:  # else it was cancelled or given back meanwhile
            room -= lease.size
            if room < 0 and (taken or room + lease.size < limits.FRAME_BYTES_MAX):
                break
            lease.assignment = None
            lease.sent_seq = seq
            taken.append(item)
        queue.popleft()
        outbox.count -= 1
        if not queue:
            ring.popleft()
        elif len(ring) > 1:
            ring.rotate(-1)
    return taken


def _welcome(session: Session, identity: Identity) -> Welcome:
    return Welcome(
        session_id=session.id,
        session_epoch=session.epoch,
        heartbeat_period=duration_of_seconds(session.period),
        lease_duration=duration_of_seconds(session.lease_seconds),
        frame_bytes_max=limits.MESSAGE_BYTES_MAX,
        frame_items_max=limits.FRAME_ITEMS_MAX,
        items_unacked_max=limits.ITEMS_UNACKED_MAX,
        items_unacked_bytes_max=limits.ITEMS_UNACKED_BYTES_MAX,
        executor=identity.name,
        endpoints=Endpoints(
            scheduler=identity.scheduler_address, registry=identity.registry_address
        ),
        tenant=session.tenant,
    )
