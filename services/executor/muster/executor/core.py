"""The executor's decisions: what a host or a scheduler said goes in, what must be sent comes out.

The theory, in six rules:

1. A *session* is one contact of one host. The newest session of a (tenant, host) wins; the older
   one is over at once, and nothing of it is relayed from then on.
2. A *lease* is bound to a session. It comes with an assignment or is claimed by a hello, and it
   ends in exactly one way: its report is acknowledged, it is given back, it has stopped after a
   cancel, a verdict drops it, or it is lost (by itself, or with its session).
3. A *window* counts active leases. It is freed by the host's word, before the scheduler hears of
   it, so the scheduler's count is never the smaller one; what would exceed it is given back.
4. Links carry *level*: whatever a scheduler must know follows from the sessions, so a link that
   breaks loses nothing. Reports and stream items are kept until they are acknowledged, and are
   relayed again on the next link.
5. Hosts are judged on a sweep, by a clock that is given; relaying never waits for it.
6. Events are hints, and apart from all that: whoever is slow with them holds up nothing else.

Nothing here reads a clock or looks into a message. Effects accumulate in the outboxes of sessions
and links; `woken_hosts` and `woken_links` of the book name those that have something to write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from muster.executor.core_book import Book
from muster.executor.core_host import HostSide
from muster.executor.core_judge import Judge
from muster.executor.core_lending import Lending
from muster.executor.core_scheduler import SchedulerSide
from muster.executor.core_sessions import SessionSide
from muster.executor.core_state import Item, LinkOutbox, Timers
from muster.executor.core_topics import Topics


class Core:
    """The parts, over one book. `now` is always in seconds of one monotonic clock."""

    def __init__(
        self,
        links: Sequence[str],
        now: float,
        timers: Timers | None = None,
        offers: Callable[[Item], Iterable[str]] = lambda _: (),
    ) -> None:
        self.book = Book(timers or Timers(), now)
        self.book.links.update({name: LinkOutbox(name) for name in links})
        self.lending = Lending(self.book, offers)
        self.sessions = SessionSide(self.book, self.lending)
        self.host = HostSide(self.book, self.sessions)
        self.scheduler = SchedulerSide(self.book, self.lending)
        self.judge = Judge(self.book, self.sessions)
        self.topics = Topics(self.book.counts, lambda session: self.book.wake(session, 0))
        self.book.on_detach = lambda agent: self.topics.unsubscribe(agent.session, agent.name)
