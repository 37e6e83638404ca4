"""What schedulers say over their links."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from muster.executor.core_book import Book, shard_of_key
from muster.executor.core_lending import Lending
from muster.executor.core_state import (
    CANCELLED,
    DROP,
    KEEP,
    OFFERED,
    REPORTED,
    STARTED,
    SUSPENDED,
    UNSENT,
    Batch,
    Item,
    Key,
    Lease,
    LinkOutbox,
    Session,
)
from muster.model import limits

ACCEPTED: Final = 1  # muster.v1.ReportVerdict
REFUSED: Final = 4


class SchedulerSide:
    """Each method takes one item of a link's frame, in O(1). What a frame says of a session that is
    over is left out by the caller: the scheduler has heard, or is about to hear, of its end."""

    def __init__(self, book: Book, lending: Lending) -> None:
        self._book = book
        self._lending = lending

    # --- links ------------------------------------------------------------------------------------

    def link_up(self, link: LinkOutbox, size_of: Callable[[Item], int]) -> None:
        """A new link: puts the whole level into its outbox, and again what is unacknowledged.

        `size_of` gives a report's size in bytes.
        """
        book = self._book
        link.clear()
        link.up = True
        for session in book.sessions.values():
            session.parked_bytes = 0
            link.sessions[session] = None
            self._again(session, link, size_of)
        book.wake_link(link)

    def link_answered(
        self, link: LinkOutbox, shards: Mapping[int, int], size_of: Callable[[Item], int]
    ) -> None:
        """The scheduler is there, and says what it owns, with generations. It is told of leases
        that have become its: those of a shard that it has taken over, or whose owner was unknown.
        """
        book = self._book
        link.answered = True
        gained = book.own(link, shards)
        if len(book.links) == 1:
            return  # all was its before
        self._lending.split_all()
        for session in book.sessions.values():
            moved = [
                lease
                for lease in session.leases.values()
                if lease.link is not link and shard_of_key(lease.key) in gained
            ]
            if moved or any(shard_of_key(key) in gained for key in session.unacked):
                self._move(session, link, moved, size_of)

    def _move(
        self,
        session: Session,
        link: LinkOutbox,
        leases: Sequence[Lease],
        size_of: Callable[[Item], int],
    ) -> None:
        """The leases are this link's from now on, and what nobody has acknowledged goes there."""
        for lease in leases:
            lease.link = link
        waiting = link.batches.pop(session, None)
        if waiting is not None:
            link.full.append((session, waiting))
        claims = Batch()
        if session not in link.sessions:  # else they are named there
            claims.claims.extend(leases)
        link.full.append((session, claims))
        self._again(session, link, size_of)
        self._book.wake_link(link)

    def link_down(self, link: LinkOutbox) -> None:
        """The link has ended. Nothing waits for it: the next one starts from the level."""
        link.up = link.answered = False
        link.clear()
        if len(self._book.links) > 1:
            self._lending.split_all()
            for session in self._book.sessions.values():
                for agent in session.agents.values():
                    self._book.settle_attach(agent)

    def link_removed(self, name: str) -> None:
        """There is no such link any more. Leases that were its wait for another to claim them."""
        link = self._book.links.pop(name)
        self._book.own(link, {})
        self._lending.split_all()

    def _again(self, session: Session, link: LinkOutbox, size_of: Callable[[Item], int]) -> None:
        """Puts what the last link may have lost into the outbox, in batches that are not large."""
        batch = Batch()
        for key, item, size in self._unacknowledged(session, link, size_of):
            if batch.bytes and batch.bytes + size > limits.LINK_FRAME_BYTES_MAX:
                link.full.append((session, batch))
                batch = Batch()
            batch.bytes += size
            if key is None:
                batch.items.append(item)
            else:
                batch.reports[key] = item
        deaf = session.deaf_at is not None
        batch.drains = {a.name: None for a in session.agents.values() if a.draining or deaf}
        if batch.bytes or batch.drains:
            link.batches[session] = batch

    def _unacknowledged(
        self, session: Session, link: LinkOutbox, size_of: Callable[[Item], int]
    ) -> Iterator[tuple[Key | None, Item, int]]:
        """Stream items, and then reports with their keys; each with its size in bytes."""
        for lease in session.leases.values():
            if lease.link is None:
                lease.link = self._book.link_of(lease.key[0])
            if lease.link is link and lease.items:
                yield from ((None, item, size) for _, size, item in lease.items)
        for key, report in session.unacked.items():
            lease_or_none = session.leases.get(key)
            owner = lease_or_none.link if lease_or_none else self._book.link_of(key[0])
            if owner is link:
                yield key, report, size_of(report)

    # --- agents -----------------------------------------------------------------------------------

    def attach_result(
        self, link: LinkOutbox, session: Session, name: str, item: Item, *, failed: bool
    ) -> None:
        """How an attach went. After a link's hello the scheduler answers all agents once more; the
        host hears only what it waits for, once every scheduler has answered, and what went wrong.
        """
        agent = session.agents.get(name)
        if agent is None or not agent.attached:
            return
        if failed:
            self._book.detach(agent)
        elif not agent.awaits_result:
            return
        elif len(self._book.links) > 1 or agent in self._book.unsubscribed:
            agent.taken_by = {*agent.taken_by, link.name}
            agent.result = item
            self._book.settle_attach(agent)
            return
        agent.awaits_result = False
        session.outbox.attach_results.append(item)
        self._book.wake(session)

    # --- leases -----------------------------------------------------------------------------------

    def assign(
        self,
        link: LinkOutbox,
        session: Session,
        key: Key,
        agent_name: str,
        size: int,
        item: Item,
        now: float,
        *,
        solo: bool = False,
    ) -> None:
        """Hands an attempt of `size` bytes to an agent, or gives it back when it cannot be. A solo
        one waits until the session runs nothing else."""
        if key in session.leases:
            return  # sent twice
        agent = session.agents.get(agent_name)
        too_large = size > session.frame_bytes_max
        if agent is None or agent.active >= agent.limit or too_large or session.solo is not None:
            self._book.give_back(session, link, key, "the agent takes nothing more just now")
            if agent is not None:
                self._lending.overrun(agent, link)
            return
        if not session.leases:
            session.renewed = max(session.renewed, now)
        lease = Lease(key, agent, link, OFFERED, now)
        lease.assignment = item
        lease.size = size
        lease.sent_seq = UNSENT
        self._book.hold(lease)
        if solo:
            session.solo, session.solo_waits = lease, self._book.runs_beside(lease)
        if not session.solo_waits:
            self._book.hand_out(lease)

    def verdict(self, session: Session, key: Key, decision: int) -> None:
        """What becomes of a lease that a LinkSession named."""
        lease = session.leases.get(key)
        if decision == DROP:
            self._drop(session, key, lease)
        elif lease is not None and not lease.confirmed:
            lease.confirmed = decision == KEEP
            self._decide(session, key, decision)

    def _drop(self, session: Session, key: Key, lease: Lease | None) -> None:
        # Whatever cancelled it may have been lost with a link: its slot is free in any case.
        self._stop(session, key)
        session.unacked.pop(key, None)
        if lease is None:
            return
        unsent = lease.assignment is not None
        self._book.forget(lease)
        if not unsent:
            session.word_sent = True
            self._decide(session, key, DROP)

    def _decide(self, session: Session, key: Key, decision: int) -> None:
        session.outbox.verdicts.append((key, decision))
        self._book.wake(session)

    def cancel(self, session: Session, key: Key, code: str) -> None:
        """The contract has moved on: the host stops the attempt."""
        lease = session.leases.get(key)
        if lease is None:
            self._stop(session, key)  # it was given back or lost before the cancel came
            return
        if lease.state in (REPORTED, CANCELLED):
            return
        if lease.assignment is not None:
            self._book.stopped(lease, key)
            return
        if lease.state == SUSPENDED:
            lease.agent.suspended -= 1
        lease.state = CANCELLED
        lease.items = None
        session.outbox.cancels.append((key, code))
        self._book.wake(session)

    def _stop(self, session: Session, key: Key) -> None:
        batch = self._book.batch(session, self._book.link_of(key[0]))
        if batch is not None:
            batch.stops.append(key)

    # --- acknowledgements -------------------------------------------------------------------------

    def report_ack(self, session: Session, key: Key, verdict: int, item: Item) -> None:
        """What became of a report. Only a refused one leaves the lease where it was."""
        session.unacked.pop(key, None)
        lease = session.leases.get(key)
        if lease is not None:
            if verdict != REFUSED:
                self._book.forget(lease)
            elif lease.state == REPORTED:
                lease.state = STARTED
                lease.slot = True
                lease.agent.active += 1
        session.word_sent = True
        session.outbox.report_acks.append(item)
        if verdict == ACCEPTED:
            # Nobody waits for it but the host's memory; a frame of its own costs as much as a
            # contract does.
            self._book.wake_late(session)
        else:
            self._book.wake(session)

    def item_ack(self, session: Session, key: Key, index: int, item: Item) -> None:
        """Stream items up to `index` are recorded."""
        lease = session.leases.get(key)
        if lease is None:
            return
        lease.items_acked = max(lease.items_acked, index)
        kept = lease.items
        while kept and kept[0][0] <= index:
            lease.item_bytes -= kept.popleft()[1]
        session.outbox.item_acks.append(item)
        self._book.wake(session)

    def refusal(self, session: Session, item: Item) -> None:
        """An item of the host was refused; passed on as it is."""
        session.outbox.refusals.append(item)
        self._book.wake(session)
