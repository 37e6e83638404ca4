"""How sessions begin, change and end."""

from __future__ import annotations

from dataclasses import dataclass

from muster.executor.core_book import Book
from muster.executor.core_lending import Lending
from muster.executor.core_state import (
    ACCEPTED,
    PENDING,
    REPORTED,
    STARTED,
    SUSPENDED,
    Agent,
    Batch,
    Item,
    Key,
    Lease,
    Session,
)
from muster.model import limits
from muster.model.errors import (
    InvalidArgument,
    MusterError,
    NotFound,
    ResourceExhausted,
    Violation,
)

SUPERSEDED = ("SUPERSEDED", "a newer session of this host has taken over")
SESSION_EPOCH_MAX = 1 << 62


@dataclass(frozen=True, slots=True)
class Opening:
    """What a hello says, besides its agents and leases."""

    session_id: str
    tenant: str
    principal: str
    host: str
    last_epoch: int
    reports_start: bool
    frame_bytes_max: int


class SessionSide:
    """Sessions and agents come and go here."""

    def __init__(self, book: Book, lending: Lending) -> None:
        self._book = book
        self._lending = lending

    # --- sessions ---------------------------------------------------------------------------------

    def open(self, opening: Opening, now: float, wall_ms: int) -> Session:
        """A host has said hello; what it attaches and claims follows, and then `opened`.

        An older session of the host goes on until `opened`, so that a hello that is refused half
        way leaves it alone. Raises `MusterError` when the host may not have a session.
        """
        if opening.last_epoch > SESSION_EPOCH_MAX:
            violation = Violation("hello.last_session_epoch", "no session ever had this number")
            raise InvalidArgument("the hello is malformed", violations=[violation])
        session = Session(opening.session_id, opening.tenant, opening.principal, opening.host)
        self._check(session)
        session.epoch = max(wall_ms, opening.last_epoch + 1)
        session.opened_ms = wall_ms
        session.reports_start = opening.reports_start
        session.frame_bytes_max = opening.frame_bytes_max
        session.contact = session.renewed = now
        self._book.announce(session)
        return session

    def opened(self, session: Session, now: float) -> None:
        """The session begins, and ends the host's older one. Raises as `open` does: another hello
        may have been faster."""
        older = self._check(session)
        if older is not None:
            session.epoch = max(session.epoch, older.epoch + 1)
        for lease in session.leases.values():
            lease.link = self._book.link_of(lease.key[0])
        session.contact = session.renewed = now
        self._book.add(session)
        self._lending.split(session.agents.values())
        if older is not None:
            self._book.end(older, "a newer session took over", SUPERSEDED, superseded=True)

    def _check(self, session: Session) -> Session | None:
        """The host's older session, if there is one; raises when this one may not follow it."""
        book = self._book
        older = book.by_host.get((session.tenant, session.host))
        if older is not None and older.principal != session.principal:
            message = f"host {session.host} belongs to another principal"
            raise MusterError(message, reason="NOT_ALLOWED")
        if older is None and len(book.sessions) >= limits.SESSIONS_MAX:
            raise ResourceExhausted("this executor holds as many sessions as it can")
        return older

    def broken(self, session: Session, now: float) -> None:
        """The session's stream has ended. Within the grace its host may come back, to a new one."""
        if session.over:
            return
        if (session.leaving or session.draining) and not session.leases:
            self._book.end(session, "it left")
            return
        session.broken_at = now
        self._close(session, list(session.agents.values()))
        for lease in [x for x in session.offered.values() if x.assignment is not None]:
            self._book.give_back(session, lease.link, lease.key, "the host has gone")
            self._book.forget(lease)

    # --- agents -----------------------------------------------------------------------------------

    def attach(
        self, session: Session, name: str, window: int, size: int, spec: Item, wall_ms: int
    ) -> None:
        """Attaches an agent or changes it. `size` of the spec in bytes. Raises `MusterError`."""
        agent = session.agents.get(name)
        if agent is None and len(session.agents) >= limits.AGENTS_PER_SESSION_MAX:
            message = f"a session has at most {limits.AGENTS_PER_SESSION_MAX} agents"
            raise ResourceExhausted(message)
        specs_bytes = session.specs_bytes + size - (agent.size if agent else 0)
        if specs_bytes > limits.SESSION_SPECS_BYTES_MAX:
            message = f"a session's agents have at most {limits.SESSION_SPECS_BYTES_MAX} bytes"
            raise ResourceExhausted(message, reason="MESSAGE_TOO_LARGE")
        session.specs_bytes = specs_bytes
        if agent is None:
            agent = session.agents[name] = Agent(session, name, wall_ms)
        elif not agent.attached:
            agent.draining = False
        agent.spec = spec
        agent.size = size
        agent.window = window or 1
        agent.attached = True
        agent.awaits_result = True
        agent.draining = agent.draining or session.draining
        closed = agent.draining or session.deaf_at is not None
        agent.limit = 0 if closed else agent.window
        if session.id in self._book.sessions:
            self._book.presence(agent)
            self._lending.split([agent])
        for batch in self._batches(session):
            batch.agents[name] = spec
            if closed:
                batch.drains[name] = None

    def detach(self, session: Session, name: str) -> bool:
        """Takes an agent off the session; what it holds goes on. False when there is none."""
        agent = session.agents.get(name)
        if agent is None or not agent.attached:
            return False
        self._book.detach(agent)
        for batch in self._batches(session):
            batch.agents[name] = None
        return True

    def claim(
        self, session: Session, key: Key, name: str, state: int, items_acked: int, now: float
    ) -> None:
        """A hello names a lease that the host holds. Its verdict follows; PENDING at once when
        nobody can give it."""
        if key in session.leases:
            return
        agent = session.agents.get(name)
        if agent is None:
            agent = session.agents[name] = Agent(session, name, 0)
        state = state if ACCEPTED <= state <= REPORTED else STARTED
        lease = Lease(key, agent, self._book.link_of(key[0]), state, now)
        lease.confirmed = False
        lease.slot = state not in (SUSPENDED, REPORTED)
        lease.items_acked = items_acked
        self._book.hold(lease)
        if lease.link is None or not lease.link.answered:
            session.outbox.verdicts.append((key, PENDING))
            self._book.wake(session)

    # --- hosts that do not hear -------------------------------------------------------------------

    def deafen(self, session: Session, now: float) -> None:
        """The host lives, and does not take what it is sent: it gets nothing new. What it holds
        goes on, and if it hears nothing for a lease, its stream is closed."""
        if session.deaf_at is None:
            session.deaf_at, session.deaf_seq = now, session.out_seq
            self._close(session, list(session.agents.values()))

    def hears(self, session: Session) -> None:
        """The host has taken what it was sent."""
        session.deaf_at = None
        if session.draining or session.broken_at is not None:
            return
        batches = self._batches(session)
        for agent in session.agents.values():
            if agent.attached and not agent.draining:
                agent.limit = agent.window
                self._book.presence(agent)
                for batch in batches:
                    batch.drains.pop(agent.name, None)
                    batch.agents[agent.name] = agent.spec

    # --- draining ---------------------------------------------------------------------------------

    def leave(self, session: Session) -> None:
        """The host is about to leave: it takes nothing new."""
        if not session.leaving:
            session.leaving = True
            self._drain(session)

    def drain_host(self, tenant: str, host: str, grace_seconds: float, now: float) -> Session:
        """Asks a host to finish what it has and leave. Raises `NotFound`."""
        session = self._book.by_host.get((tenant, host))
        if session is None:
            raise NotFound(f"there is no host {host} here", reason="HOST_UNKNOWN")
        session.drain_until = now + grace_seconds
        self._drain(session)
        session.outbox.drains.append(((), grace_seconds))
        self._book.wake(session)
        return session

    def drain_agent(self, tenant: str, name: str) -> Agent:
        """Asks an agent to finish what it has; it gets nothing new. Raises `NotFound`."""
        for session in self._book.sessions.values():
            agent = session.agents.get(name) if session.tenant == tenant else None
            if agent is not None and agent.attached:
                agent.draining = True
                self._close(session, [agent])
                session.outbox.drains.append(((name,), 0.0))
                self._book.wake(session)
                return agent
        raise NotFound(f"there is no agent {name} here", reason="AGENT_UNKNOWN")

    def _drain(self, session: Session) -> None:
        session.draining = True
        for agent in session.agents.values():
            agent.draining = True
        self._close(session, list(session.agents.values()))

    def _close(self, session: Session, agents: list[Agent]) -> None:
        """The agents get nothing new."""
        batches = self._batches(session)
        for agent in agents:
            agent.limit = 0
            if agent.attached:
                self._book.presence(agent)
                for batch in batches:
                    batch.drains[agent.name] = None

    def _batches(self, session: Session) -> list[Batch]:
        """Where changes go that every scheduler hears of; nowhere before the session has begun,
        because then they are part of its level."""
        if session.id not in self._book.sessions:
            return []
        found = (self._book.batch(session, link) for link in self._book.links.values())
        return [batch for batch in found if batch is not None]
