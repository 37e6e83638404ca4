"""What hosts say about the leases they hold."""

from __future__ import annotations

from collections import deque
from typing import Final

from muster.executor.core_book import Book
from muster.executor.core_sessions import SessionSide
from muster.executor.core_state import (
    ACCEPTED,
    CANCELLED,
    DROP,
    OFFERED,
    REPORTED,
    STARTED,
    SUSPENDED,
    Item,
    Key,
    Lease,
    Session,
)
from muster.model import limits

# Why an item is refused; keys of muster.model.errors.REASONS.
FENCED: Final = "FENCED"  # the session does not hold that attempt
OVERRUN: Final = "QUEUE_FULL"  # more stream items unacknowledged than the window allows


class HostSide:
    """Each method takes one item of a frame, in O(1), and returns why it is refused, or None."""

    def __init__(self, book: Book, sessions: SessionSide) -> None:
        self._book = book
        self._sessions = sessions

    # --- frames -----------------------------------------------------------------------------------

    def frame(
        self, session: Session, now: float, frame_seq: int, seen_seq: int, size_bytes: int
    ) -> None:
        """A frame has come; its items follow, and then `processed`."""
        session.contact = now
        session.counts = frame_seq > 0
        session.frame_bytes = size_bytes
        if session.seen_seq < seen_seq <= session.out_seq:
            session.seen_seq = seen_seq
            if session.deaf_at is not None and seen_seq >= session.deaf_seq:
                self._sessions.hears(session)
        for link in self._book.links.values():
            if link.up:
                link.grow(session, size_bytes)
            else:
                session.parked_bytes += size_bytes
                if session.parked_bytes > limits.SESSION_PARKED_BYTES_MAX:
                    self._book.cut(session, "NOT_READY", "the mesh cannot take reports just now")

    def processed(self, session: Session, frame_seq: int) -> None:
        """The whole frame has been processed."""
        session.frame_bytes = 0
        session.in_seq = max(session.in_seq, frame_seq)

    # --- the life of an attempt -------------------------------------------------------------------

    def accept(self, session: Session, key: Key, item: Item) -> str | None:
        """The host has the attempt."""
        lease = session.leases.get(key)
        if lease is None:
            return FENCED
        self._take(session, lease, item, started=False)
        return None

    def start(self, session: Session, key: Key, item: Item) -> str | None:
        """The attempt runs."""
        lease = session.leases.get(key)
        if lease is None:
            return FENCED
        self._take(session, lease, item, started=True)
        return None

    def stream_item(
        self, session: Session, key: Key, index: int, size: int, item: Item
    ) -> str | None:
        """The attempt says something while it works; `size` in bytes. Kept until acknowledged."""
        lease = session.leases.get(key)
        if lease is None:
            return FENCED
        if lease.state == CANCELLED:
            return None  # nothing it still does is recorded
        kept = lease.items
        if kept is None:
            kept = lease.items = deque()
        if not kept or index > kept[-1][0]:  # else it is sent again
            if kept and (
                len(kept) >= limits.ITEMS_UNACKED_MAX
                or lease.item_bytes + size > limits.ITEMS_UNACKED_BYTES_MAX
            ):
                return OVERRUN
            kept.append((index, size, item))
            lease.item_bytes += size
        self._take(session, lease, key, started=True)
        batch = self._book.batch(session, lease.link)
        if batch is not None:
            batch.items.append(item)
        return None

    def suspend(self, session: Session, key: Key, item: Item) -> str | None:
        """The attempt waits for children: it keeps its lease and frees its slot."""
        lease = session.leases.get(key)
        if lease is None:
            return FENCED
        self._take(session, lease, item, started=True)
        if lease.state == STARTED:
            self._suspended(session, lease, True)
        return None

    def resume(self, session: Session, key: Key, _item: Item) -> str | None:
        """The attempt goes on. That needs no free slot."""
        lease = session.leases.get(key)
        if lease is None:
            return FENCED
        if lease.state == SUSPENDED:
            self._suspended(session, lease, False)
        return None

    def give_back(self, session: Session, key: Key, item: Item) -> str | None:
        """The host cannot take the attempt."""
        lease = session.leases.get(key)
        if lease is None or lease.state == REPORTED:
            return FENCED
        if lease.state == CANCELLED:
            self._book.stopped(lease, key)
            return None
        batch = self._book.batch(session, lease.link)
        if batch is not None:
            batch.returns.append(item)
        self._book.forget(lease)
        return None

    def stop(self, session: Session, key: Key, item: Item) -> str | None:
        """The attempt has stopped after a cancel. One that is forgotten already is no error: its
        cancel may have come from the judge. One that nobody cancelled is lost."""
        if session.deaf_at is not None and not session.counts:
            self._sessions.hears(session)  # it answers to the cancel of what it did not accept
        lease = session.leases.get(key)
        if lease is not None and lease.state == CANCELLED:
            self._book.stopped(lease, item)
        elif lease is not None and lease.state != REPORTED:
            self._book.lose(lease)
        return None

    def report(self, session: Session, key: Key, item: Item) -> str | None:
        """The agent's terminal word; relayed, and kept until it is acknowledged.

        An attempt that is not held is relayed too: it may be a resend of what was recorded, and
        only the ledger knows.
        """
        lease = session.leases.get(key)
        if lease is None:
            link = self._book.link_of(key[0])
            if len(session.unacked) >= limits.SESSION_UNACKED_REPORTS_MAX:
                return OVERRUN
        else:
            link = lease.link
            if session.offered:
                session.offered.pop(key, None)
            if lease.state == SUSPENDED:
                lease.agent.suspended -= 1
            lease.state = REPORTED
            if lease.slot:
                lease.slot = False
                lease.agent.active -= 1
        session.unacked[key] = item
        batch = self._book.batch(session, link)
        if batch is not None:
            batch.reports[key] = item
        return None

    # --- heartbeats -------------------------------------------------------------------------------

    def heartbeat(self, session: Session, now: float) -> None:
        """A heartbeat has come; the leases that it names follow, and then `heartbeat_end`."""
        book = self._book
        session.renewed = now
        session.beat += 1
        session.marked = 0
        if session.period != book.period:
            book.announce(session)
            if session.outbox.period is None:
                book.wake(session)
            session.outbox.period = (session.period, session.period * book.timers.lease_periods)
        else:
            session.lease_seconds = session.period * book.timers.lease_periods

    def held(self, session: Session, key: Key, state: int, item: Item) -> None:
        """The host holds this lease. `state` as in muster.v1.HeldState."""
        lease = session.leases.get(key)
        if lease is None:
            session.strange.add(key)
            return
        if lease.beat != session.beat:
            lease.beat = session.beat
            session.marked += 1
        if lease.state <= ACCEPTED:
            self._take(session, lease, item, started=state != ACCEPTED)

    def heartbeat_end(self, session: Session) -> None:
        """The heartbeat was the whole truth: what it does not name, and was seen, is lost."""
        if session.marked < len(session.leases):
            missing = [x for x in session.leases.values() if x.beat != session.beat]
            for lease in missing:
                self._missing(session, lease)
        if session.strange or session.suspects:
            self._drop_strange(session)
        session.word_sent = False

    def _missing(self, session: Session, lease: Lease) -> None:
        seen = session.counts and lease.sent_seq <= session.seen_seq
        if lease.state == CANCELLED:
            # It was told to stop, and does not name what it once named: it has.
            if seen or lease.beat:
                self._book.stopped(lease, lease.key)
        elif seen and not (lease.state == REPORTED and lease.key in session.unacked):
            self._book.lose(lease)

    def _drop_strange(self, session: Session) -> None:
        """Drops leases that are not ours. When a final word on some lease has crossed this
        heartbeat, the lease may be that one: then only the second heartbeat convicts it."""
        strange, outbox = session.strange, session.outbox
        drops = strange & session.suspects if session.word_sent else strange
        if drops:
            outbox.verdicts.extend((key, DROP) for key in drops)
            self._book.wake(session, len(drops))
        session.suspects = strange - drops
        session.strange = set()

    # --- steps ------------------------------------------------------------------------------------

    def _take(self, session: Session, lease: Lease, item: Item, *, started: bool) -> None:
        """The host has said something that implies that it has the lease, or that it runs."""
        state = lease.state
        if state > ACCEPTED:
            if state == CANCELLED:
                session.offered.pop(lease.key, None)
            return
        started = started or not session.reports_start
        if state == OFFERED:
            del session.offered[lease.key]
        elif not started:
            return
        lease.state = STARTED if started else ACCEPTED
        batch = self._book.batch(session, lease.link)
        if batch is not None:
            (batch.starts if started else batch.accepts).append(item)

    def _suspended(self, session: Session, lease: Lease, waits: bool) -> None:
        agent = lease.agent
        lease.state = SUSPENDED if waits else STARTED
        lease.slot = not waits
        step = 1 if waits else -1
        agent.suspended += step
        agent.active -= step
        if lease is session.solo:
            # It is not alone any more: its children may need this very session.
            session.solo = None
        elif waits:
            self._book.solo_may_go(session)
        batch = self._book.batch(session, lease.link)
        if batch is not None:
            batch.suspensions[lease.key] = waits
