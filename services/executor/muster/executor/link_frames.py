"""The link's frames: made out of what waits for a scheduler, and read into the core."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from google.protobuf.message import Message

from muster.executor.core import Core
from muster.executor.core_state import (
    ACCEPTED,
    CANCELLED,
    OFFERED,
    REPORTED,
    STARTED,
    SUSPENDED,
    Agent,
    Batch,
    Item,
    Lease,
    LinkOutbox,
    Session,
)
from muster.executor.specs import fill_spec
from muster.model import limits
from muster.v1.link_pb2 import SessionEnd, SessionItems
from muster.v1.link_service_pb2 import LinkRequest, LinkResponse
from muster.v1.session_pb2 import (
    HELD_STATE_ACCEPTED,
    HELD_STATE_REPORTED,
    HELD_STATE_STARTED,
    HELD_STATE_SUSPENDED,
    AttemptKey,
    HeldLease,
    HeldState,
    Return,
    Stopped,
)
from muster.wire.times import timestamp_of_seconds

_SESSION_BYTES: Final = 128  # names and numbers of a session

# Offered, it counts as accepted until the judge says otherwise.
_HELD_STATES: Final[dict[int, HeldState.ValueType]] = {
    OFFERED: HELD_STATE_ACCEPTED,
    ACCEPTED: HELD_STATE_ACCEPTED,
    STARTED: HELD_STATE_STARTED,
    SUSPENDED: HELD_STATE_SUSPENDED,
    REPORTED: HELD_STATE_REPORTED,
    CANCELLED: HELD_STATE_STARTED,
}


# --- to the scheduler -----------------------------------------------------------------------------


def next_request(link: LinkOutbox, wall: Callable[[], float]) -> LinkRequest | None:
    """The next frame for the scheduler, taken out of the outbox; None when nothing waits.

    Sessions go before their items, and ends after everything, also when it takes several frames.
    """
    if not (link.sessions or link.full or link.batches or link.ends or link.loans):
        return None
    frame = LinkRequest()
    room = limits.LINK_FRAME_BYTES_MAX
    specs_room = limits.LINK_LEVEL_SPECS_BYTES_MAX
    for session in link.sessions:
        used = _add_session(frame, link, session, specs_room)
        specs_room -= used
        room -= used + _SESSION_BYTES
    link.sessions.clear()
    if link.full and room >= 0:
        # What is older goes first, and a session only once in a frame.
        add_items(frame.items.add(), *link.full.popleft())
    elif not link.full:
        _add_batches(frame, link, room)
    if not (link.full or link.batches):
        # After what they are about: the agents were attached, and nothing of them is left.
        _add_ends(frame, link, wall())
        _add_loans(frame, link)
    return frame


def _add_loans(frame: LinkRequest, link: LinkOutbox) -> None:
    for (session, name), slots in link.loans.items():
        frame.loans.add(session_id=session.id, agent=name, slots=slots)
    link.loans.clear()


def _add_ends(frame: LinkRequest, link: LinkOutbox, wall_seconds: float) -> None:
    time = timestamp_of_seconds(wall_seconds)
    frame.ends.extend(
        SessionEnd(session_id=session_id, reason=why, time=time)
        for session_id, why in link.ends.items()
    )
    link.ends.clear()


def _add_batches(frame: LinkRequest, link: LinkOutbox, room: int) -> None:
    """Adds what fits; into an empty frame one always does."""
    batches = link.batches
    alone = not frame.sessions
    while batches:
        session, batch = next(iter(batches.items()))
        room -= batch.bytes
        if room < 0 and not alone:
            return
        del batches[session]
        alone = False
        add_items(frame.items.add(), session, batch)


def _add_session(frame: LinkRequest, link: LinkOutbox, session: Session, room: int) -> int:
    """Adds a session as it is now; returns the bytes that its agents take.

    A link's first frame must hold every session, so when `room` bytes are not enough only agents
    with leases are in it, as far as possible, and the others follow as attaches.
    """
    batch = link.batches.get(session)
    if batch is not None:
        batch.agents.clear()
    used = 0
    told: list[Agent] = []
    later: list[Agent] = []
    for agent in session.agents.values():
        if not agent.attached:
            continue
        over = used + agent.size - room
        if over <= (limits.LINK_FRAME_BYTES_MAX if agent.held else 0):
            told.append(agent)
            used += agent.size
        else:
            later.append(agent)
    _attach_later(link, session, later)
    message = frame.sessions.add(
        session_id=session.id,
        host=session.host,
        tenant=session.tenant,
        principal=session.principal,
        session_epoch=session.epoch,
        held=map(_held, session.leases.values()),
        draining=session.draining or session.broken_at is not None,
    )
    for agent in told:
        fill_spec(message.agents.add(), agent.name, agent.spec)
    return used


def _attach_later(link: LinkOutbox, session: Session, agents: Iterable[Agent]) -> None:
    batch = Batch()
    for agent in agents:
        if batch.bytes and batch.bytes + agent.size > limits.LINK_FRAME_BYTES_MAX:
            link.full.append((session, batch))
            batch = Batch()
        batch.agents[agent.name] = agent.spec
        batch.bytes += agent.size
    if batch.agents:
        link.full.append((session, batch))


def _held(lease: Lease) -> HeldLease:
    return HeldLease(
        key=AttemptKey(contract_id=lease.key[0], epoch=lease.key[1]),
        agent=lease.agent.name,
        state=_HELD_STATES[lease.state],
        items_acked=lease.items_acked,
    )


def add_items(items: SessionItems, session: Session, batch: Batch) -> None:
    """What waits of one session, as it goes on the link."""
    items.session_id = session.id
    if batch.reports:
        items.reports.extend(batch.reports.values())
    if batch.items:
        items.items.extend(batch.items)
    if batch.starts:
        items.starts.extend(_keys(batch.starts))
    if batch.accepts:
        items.accepts.extend(_keys(batch.accepts))
    for key, waits in batch.suspensions.items():
        (items.suspends if waits else items.resumes).add(contract_id=key[0], epoch=key[1])
    if batch.stops:
        items.stops.extend(
            x if isinstance(x, Stopped) else Stopped(key=_key(x)) for x in batch.stops
        )
    if batch.returns:
        items.returns.extend(
            x if isinstance(x, Return) else Return(key=_key(x[0]), reason=x[1])
            for x in batch.returns
        )
    if batch.losses:
        items.losses.extend(_keys(batch.losses))
    if batch.claims:
        items.claims.extend(map(_held, batch.claims))
    if batch.agents:
        for name, spec in batch.agents.items():
            if spec is None:
                items.detaches.append(name)
            else:
                fill_spec(items.attaches.add(), name, spec)
    if batch.drains:
        items.drains.extend(batch.drains)


def _keys(items: Iterable[Item]) -> list[AttemptKey]:
    return [x if isinstance(x, AttemptKey) else _key(x) for x in items]


def _key(item: Item) -> AttemptKey:
    if isinstance(item, AttemptKey):
        return item
    return AttemptKey(contract_id=item[0], epoch=item[1])


def size_of(message: Message) -> int:
    """Its size on the wire, in bytes."""
    return message.ByteSize()


# --- from the scheduler ---------------------------------------------------------------------------


def apply_response(core: Core, link: LinkOutbox, frame: LinkResponse, now: float) -> None:
    """Everything of a frame but its welcome."""
    sessions = core.book.sessions
    for backlog in frame.backlog:
        core.lending.wants(link, (backlog.tenant, backlog.capability), backlog.queued)
    for items in frame.items:
        session = sessions.get(items.session_id)
        if session is not None:  # else it is over, and the scheduler is told so
            _apply_items(core, link, session, items, now)


def _apply_items(
    core: Core, link: LinkOutbox, session: Session, items: SessionItems, now: float
) -> None:
    scheduler = core.scheduler
    if items.attach_results or items.verdicts or items.refusals:
        _apply_rare(core, link, session, items)
    for ack in items.report_acks:
        attempt = ack.key
        scheduler.report_ack(session, (attempt.contract_id, attempt.epoch), ack.verdict, ack)
    for item_ack in items.item_acks:
        attempt = item_ack.key
        key = (attempt.contract_id, attempt.epoch)
        scheduler.item_ack(session, key, item_ack.index, item_ack)
    core.book.counts.assignments += len(items.assignments)
    solos = {(key.contract_id, key.epoch) for key in items.solos} if items.solos else ()
    for assignment in items.assignments:
        attempt = assignment.key
        key = (attempt.contract_id, attempt.epoch)
        size = assignment.ByteSize()
        solo = key in solos
        scheduler.assign(link, session, key, assignment.agent, size, assignment, now, solo=solo)
    # Last, so that an assignment that is cancelled in its own frame is never handed out.
    for cancel in items.cancels:
        scheduler.cancel(session, (cancel.key.contract_id, cancel.key.epoch), cancel.code)


def _apply_rare(core: Core, link: LinkOutbox, session: Session, items: SessionItems) -> None:
    """What seldom comes. It stands in no order with acknowledgements, and before assignments."""
    scheduler = core.scheduler
    for result in items.attach_results:
        failed = result.HasField("error")
        scheduler.attach_result(link, session, result.agent, result, failed=failed)
    for verdict in items.verdicts:
        key = (verdict.key.contract_id, verdict.key.epoch)
        scheduler.verdict(session, key, verdict.decision)
    for refusal in items.refusals:
        scheduler.refusal(session, refusal)
