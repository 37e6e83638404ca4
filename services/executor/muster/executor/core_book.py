"""The state that the parts of the core share, and what changes it in one step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import ceil, inf

from muster.executor.core_state import (
    OFFERED,
    SUSPENDED,
    Agent,
    Batch,
    Counts,
    Item,
    Key,
    Lease,
    LinkOutbox,
    PresenceOutbox,
    Session,
    Timers,
)
from muster.model import limits
from muster.model.ids import parse_id, shard_of_id


class Book:
    """Every session and every link, and which of them have something to write."""

    def __init__(self, timers: Timers, now: float) -> None:
        self.timers = timers
        self.sessions: dict[str, Session] = {}
        self.by_host: dict[tuple[str, str], Session] = {}
        self.links: dict[str, LinkOutbox] = {}
        self.owners: dict[int, LinkOutbox] = {}  # of shards, as far as schedulers have said
        self.period = timers.heartbeat_seconds
        # Effects: the shell empties these after every event.
        self.woken_hosts: list[Session] = []
        self.woken_links: list[LinkOutbox] = []
        self.late_hosts: list[Session] = []  # to be woken a little later, if nothing else does
        self.counts = Counts()
        self.presences: list[PresenceOutbox] = []
        # Agents whose subscriptions the bus has not taken yet; their attach is answered after that.
        self.unsubscribed: dict[Agent, int] = {}
        self.on_detach: Callable[[Agent], None] = lambda _agent: None
        # Nothing is judged by what happened, or did not happen, before this.
        self.judged_from = now

    # --- lookups ----------------------------------------------------------------------------------

    def link_of(self, contract_id: str) -> LinkOutbox | None:
        """The link to the contract's owner; None while no link to it is up."""
        if len(self.links) == 1:
            (link,) = self.links.values()
            return link if link.up else None
        owner = self.owners.get(_shard_of(contract_id))
        return owner if owner is not None and owner.up else None

    def own(self, link: LinkOutbox, shards: Mapping[int, int]) -> set[int]:
        """The link's scheduler owns these shards, with these generations, and no others. Of two
        that say so of one shard, the larger generation is the newer. Returns what it gained."""
        before = {shard for shard, owner in self.owners.items() if owner is link}
        link.shards = dict(shards)
        self.owners = {}
        for each in self.links.values():
            # What somebody owned is not its again when whoever took it over gives it up.
            for shard in each.shards.keys() & shards.keys():
                if each.shards[shard] < shards[shard]:
                    del each.shards[shard]
            for shard, generation in each.shards.items():
                other = self.owners.get(shard)
                if other is None or other.shards[shard] < generation:
                    self.owners[shard] = each
        return {shard for shard, owner in self.owners.items() if owner is link} - before

    # --- effects ----------------------------------------------------------------------------------

    def wake(self, session: Session, items: int = 1) -> None:
        """Something was put in the host's outbox. A host that takes nothing is cut off."""
        outbox = session.outbox
        outbox.count += items
        if outbox.count > limits.SESSION_OUTBOX_ITEMS_MAX:
            self.cut(session, "QUEUE_FULL", "the host reads slower than the mesh writes to it")
        elif not outbox.woken:
            outbox.woken = True
            self.woken_hosts.append(session)

    def wake_late(self, session: Session) -> None:
        """Something was put in the host's outbox that had better travel with something else."""
        outbox = session.outbox
        outbox.count += 1
        if outbox.count > limits.SESSION_OUTBOX_ITEMS_MAX:
            self.wake(session, 0)
        elif not (outbox.woken or outbox.late):
            outbox.late = True
            self.late_hosts.append(session)

    def take_late(self) -> list[Session]:
        """The hosts whose time to be woken has come; those that were woken meanwhile are not."""
        late, self.late_hosts = self.late_hosts, []
        for session in late:
            session.outbox.late = False
        return [session for session in late if session.outbox.count]

    def cut(self, session: Session, reason: str, message: str) -> None:
        """Closes the host's stream. The session goes on, and the host may come back within the
        grace; an empty reason closes the stream without an error."""
        outbox = session.outbox
        if outbox.end is None:
            outbox.end = (reason, message)
            if not outbox.woken:
                outbox.woken = True
                self.woken_hosts.append(session)

    def wake_link(self, link: LinkOutbox) -> None:
        """Something was put in the link's outbox."""
        if not link.woken:
            link.woken = True
            self.woken_links.append(link)

    def batch(self, session: Session, link: LinkOutbox | None) -> Batch | None:
        """Where to put what is to be relayed; None while the link is down."""
        if link is None or not link.up:
            return None
        batch = link.batches.get(session)
        if batch is None:
            batch = link.batches[session] = Batch()
            batch.bytes = session.frame_bytes
            if not link.woken:
                link.woken = True
                self.woken_links.append(link)
        return batch

    # --- presence ---------------------------------------------------------------------------------

    def presence(self, agent: Agent) -> None:
        """The agent, of a session that has begun, is there or has changed."""
        if agent.attached:
            for outbox in self.presences:
                if outbox.up:
                    outbox.changed[agent] = None

    def absence(self, agent: Agent) -> None:
        """The agent is gone from its session."""
        session = agent.session
        for outbox in self.presences:
            if outbox.up:
                outbox.changed.pop(agent, None)
                outbox.gone[session.tenant, agent.name, session.id] = None

    def report_level(self, outbox: PresenceOutbox) -> None:
        """Somebody begins to listen: puts every agent into the outbox."""
        outbox.close()
        outbox.up = True
        for session in self.sessions.values():
            outbox.changed.update({a: None for a in session.agents.values() if a.attached})

    def report_counts(self) -> None:
        """Reports the agents whose counts have changed. They change all the time, so nobody is
        told of each."""
        for session in self.sessions.values():
            for agent in session.agents.values():
                counts = (agent.active, agent.suspended)
                if agent.reported != counts:
                    agent.reported = counts
                    self.presence(agent)

    def settle_attach(self, agent: Agent) -> None:
        """Tell the host how its attach went, if every scheduler that is there has answered."""
        asked = {link.name for link in self.links.values() if link.answered}
        if agent in self.unsubscribed:
            return
        if agent.awaits_result and agent.result is not None and asked <= agent.taken_by:
            agent.session.outbox.attach_results.append(agent.result)
            agent.awaits_result, agent.result, agent.taken_by = False, None, frozenset()
            self.wake(agent.session)

    # --- steps ------------------------------------------------------------------------------------

    def add(self, session: Session) -> None:
        """The session begins."""
        self.counts.sessions_opened += 1
        self.sessions[session.id] = session
        self.by_host[session.tenant, session.host] = session
        for link in self.links.values():
            if link.up:
                link.sessions[session] = None
                self.wake_link(link)
        for agent in session.agents.values():
            self.presence(agent)
        self._pace()

    def hold(self, lease: Lease) -> None:
        """The session of the lease's agent holds it from now on."""
        agent = lease.agent
        agent.held += 1
        if lease.slot:
            agent.active += 1
        if lease.state == SUSPENDED:
            agent.suspended += 1
        agent.session.leases[lease.key] = lease
        if lease.state == OFFERED:
            agent.session.offered[lease.key] = lease

    def hand_out(self, lease: Lease) -> None:
        """Its assignment is written when its agent's turn comes."""
        agent = lease.agent
        if lease is agent.session.solo:
            lease.offered_at = inf  # until the next sweep: how long it waited is nobody's fault
        if agent.queue is None:
            agent.queue = deque()
        if not agent.queue:
            agent.session.outbox.ring.append(agent)
        agent.queue.append(lease)
        self.wake(agent.session)

    def forget(self, lease: Lease) -> None:
        """The session holds it no longer. An assignment not yet written is never sent."""
        agent = lease.agent
        session = agent.session
        del session.leases[lease.key]
        session.offered.pop(lease.key, None)
        lease.assignment = None
        agent.held -= 1
        if lease.slot:
            agent.active -= 1
        if lease.state == SUSPENDED:
            agent.suspended -= 1
        if session.solo is lease:
            session.solo, session.solo_waits = None, False
        else:
            self.solo_may_go(session)
        if not agent.attached and not agent.held and session.agents.get(agent.name) is agent:
            del session.agents[agent.name]

    def runs_beside(self, lease: Lease) -> bool:
        """Whether the session runs anything but this one. What waits for children does not run."""
        leases = lease.agent.session.leases.values()
        return any(other.slot for other in leases if other is not lease)

    def solo_may_go(self, session: Session) -> None:
        """Something runs no longer, and may have been the last that a solo waited for."""
        solo = session.solo
        if solo is not None and session.solo_waits and not self.runs_beside(solo):
            session.solo_waits = False
            self.hand_out(solo)

    def detach(self, agent: Agent) -> None:
        """The agent is off its session; what it holds goes on."""
        self.absence(agent)
        self.on_detach(agent)
        agent.attached = False
        agent.limit = 0
        agent.session.specs_bytes -= agent.size
        agent.spec, agent.size = None, 0
        if not agent.held:
            del agent.session.agents[agent.name]

    def lose(self, lease: Lease) -> None:
        """The session no longer holds it, and no report has come."""
        self.counts.losses += 1
        batch = self.batch(lease.agent.session, lease.link)
        if batch is not None:
            batch.losses.append(lease.key)
        self.forget(lease)

    def stopped(self, lease: Lease, item: Item) -> None:
        """The session no longer holds it, after a cancel: its slot is free."""
        batch = self.batch(lease.agent.session, lease.link)
        if batch is not None:
            batch.stops.append(item)
        self.forget(lease)

    def give_back(self, session: Session, link: LinkOutbox | None, key: Key, reason: str) -> None:
        """The attempt cannot be taken: back to the head of its queue, and it does not count."""
        self.counts.returns += 1
        batch = self.batch(session, link)
        if batch is not None:
            batch.returns.append((key, reason))

    def end(
        self,
        session: Session,
        why: str,
        error: tuple[str, str] = ("", ""),
        *,
        superseded: bool = False,
    ) -> None:
        """The session is over, and what it held with it. `error` closes its stream.

        What came from it and is not relayed yet still is, but not once another has taken over.
        """
        if session.over:
            return
        session.over = True
        del self.sessions[session.id]
        if self.by_host.get((session.tenant, session.host)) is session:
            del self.by_host[session.tenant, session.host]
        for link in self.links.values():
            if link.up:
                untold = link.sessions.pop(session, link) is None
                if superseded or untold:
                    link.drop(session)
                link.ends[session.id] = why
                self.wake_link(link)
        for agent in session.agents.values():
            if agent.attached:
                self.absence(agent)
        self.cut(session, *error)
        self._pace()

    def _pace(self) -> None:
        """Stretches the heartbeat period when sessions are many, in steps of half a second."""
        least = len(self.sessions) / self.timers.heartbeats_per_second_max
        self.period = max(self.timers.heartbeat_seconds, ceil(least * 2) / 2)

    def announce(self, session: Session) -> None:
        """Gives the session the current period, and the longer of the old and the new lease: the
        shorter one counts from the heartbeat after."""
        timers = self.timers
        session.period = self.period
        session.lease_seconds = max(session.lease_seconds, self.period * timers.lease_periods)
        session.accept_seconds = max(timers.accept_seconds, 1.5 * self.period)


def shard_of_key(key: Key) -> int:
    """The shard of the attempt's contract."""
    return _shard_of(key[0])


def _shard_of(contract_id: str) -> int:
    return shard_of_id(parse_id(contract_id))
