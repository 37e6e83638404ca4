"""Topics by hand: sessions subscribe, and take what waits for them."""

from __future__ import annotations

from muster.executor.core_groups import Group
from muster.executor.core_rings import Entry, Ring
from muster.executor.core_state import Agent, Counts, Session
from muster.executor.core_topics import Topics, Wish


def entry(sequence: int, size: int = 100) -> Entry:
    return Entry(sequence, size, sequence)


class Desk:
    """Topics, and the sessions that were woken."""

    def __init__(self) -> None:
        self.now = 0.0
        self.woken: list[Session] = []
        self.topics = Topics(Counts(), self.woken.append)

    def session(self, name: str = "s", tenant: str = "t") -> Session:
        return Session(name, tenant, "p", name)

    def subscribe(self, session: Session, name: str, *wishes: Wish) -> None:
        agent = session.agents.setdefault(name, Agent(session, name, 0))
        self.topics.admit(session, name, wishes, self.now)
        self.topics.subscribe(agent, wishes)
        for source in self.topics.opened:
            source.is_open = True

    def ring(self, pattern: str = "a", tenant: str = "t") -> Ring:
        return self.topics.rings[tenant, pattern]

    def group(self, name: str = "g", pattern: str = "a") -> Group:
        return self.topics.groups["t", pattern, name]

    def behind(self) -> list[Ring]:
        return [x for x in self.topics.opened if isinstance(x, Ring) and x.live is not None]


def had(session: Session, room: int = 1 << 20) -> list[tuple[int, list[str]]]:
    """Everything that waits for a session."""
    found = []
    while session.feed is not None and session.feed.has_some:
        taken = session.feed.take(room)
        found += [(event.item, event.agents) for event in taken.events]
    return found


def take(desk: Desk, session: Session, agent: str, pattern: str = "a") -> list[int]:
    """Has the agent take and acknowledge all there is, until there is nothing more."""
    found = []
    while events := [number for number, agents in had(session) if agent in agents]:
        found += events
        desk.topics.acknowledge(session, agent, pattern, events, failed=False)
    return found
