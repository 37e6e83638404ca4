"""The judge of hosts: who is silent, who has not accepted, whose grace is over.

It runs on a sweep and by the clock it is given. After a start, and after a pause between sweeps
that was a stall of our own, everybody gets a full duration: what could not be read was not unsaid.
"""

from __future__ import annotations

from math import inf

from muster.executor.core_book import Book
from muster.executor.core_sessions import SessionSide
from muster.executor.core_state import CANCELLED, Lease, Session

NOT_ACCEPTED = "NOT_ACCEPTED"  # the code of the cancel that revokes an assignment


class Judge:
    """Looks at every session, at O(1) for one in which nothing is due."""

    def __init__(self, book: Book, sessions: SessionSide) -> None:
        self._book = book
        self._sessions = sessions
        self._swept = book.judged_from
        self._grace_seconds = book.timers.resume_grace_seconds

    def sweep(self, now: float) -> None:
        """Judges all; to be called every half second or so."""
        book = self._book
        if now - self._swept > book.timers.stall_seconds:
            book.judged_from = now
        self._swept = now
        for session in list(book.sessions.values()):
            self._judge(session, now, book.judged_from)

    def _judge(self, session: Session, now: float, judged_from: float) -> None:
        if session.offered:
            self._revoke(session, now, judged_from)
        if session.broken_at is not None:
            if now - max(session.broken_at, judged_from) > self._grace_seconds:
                self._lose(session, "its stream ended, and it did not come back")
        elif now - max(session.contact, judged_from) > session.lease_seconds:
            self._lose(session, "the host was silent for a lease")
        elif session.leases and now - max(session.renewed, judged_from) > session.lease_seconds:
            self._lose(session, "the host sent no heartbeat for a lease")
        elif self._is_deaf(session, now, judged_from):
            self._book.cut(session, "NOT_READY", "the host has heard nothing for a lease")
        elif session.drain_until is not None:
            if not session.leases:
                self._book.end(session, "it was drained")
            elif now > max(session.drain_until, judged_from):
                self._lose(session, "it was drained, and did not finish in time")

    def _is_deaf(self, session: Session, now: float, judged_from: float) -> bool:
        return (
            session.deaf_at is not None
            and now - max(session.deaf_at, judged_from) > session.lease_seconds
        )

    def _lose(self, session: Session, why: str) -> None:
        self._book.counts.sessions_lost += 1
        self._book.end(session, why, ("NOT_READY", why))

    def _revoke(self, session: Session, now: float, judged_from: float) -> None:
        """Takes back what was offered too long ago and is not accepted yet."""
        before = now - session.accept_seconds
        if judged_from > before:
            return
        late: list[Lease] = []
        for lease in session.offered.values():
            if lease is session.solo and session.solo_waits:
                break
            if lease.offered_at == inf:
                lease.offered_at = now
            if lease.offered_at > before:
                break
            late.append(lease)
        for lease in late:
            if lease.state == CANCELLED:
                self._book.stopped(lease, lease.key)
                continue
            if not session.counts or lease.sent_seq > session.seen_seq:
                # Else the next attempt would go to it again: nobody has as many free slots.
                self._sessions.deafen(session, now)
            if lease.assignment is None:
                session.outbox.cancels.append((lease.key, NOT_ACCEPTED))
                self._book.wake(session)
            self._book.lose(lease)
