"""The agents that work can be placed on, and the choice among them.

The index is one *pool* per lane (tenant, capability, version selector): for each host a ring of
agents with a free slot. Choosing looks at about `LOOKS` hosts and `LOOKS` agents, whatever the
number of agents: a scan over 10,000 would cost hundreds of times as much as all else.

Filter: tenant, capability and version by the pool; window, draining and exclusive hosts when an
agent comes up. Exclude: agents that failed the contract, while there are others. Score: the least
loaded host, in runs as long as its pace allows, so that assignments to one host share a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from muster.model import limits
from muster.model.versions import Selector, Version, parse_selector

LOOKS = 16
RUN_MAX = 48  # assignments to one host in a row
RUN_SECONDS = 0.05  # of the host's work, at the pace at which it has just worked

PoolKey = tuple[str, str, str]  # tenant, capability, version selector


_NO_VERSIONS: Mapping[PoolKey, str] = MappingProxyType({})


class Host:
    """A session's host."""

    __slots__ = (
        "active",
        "agents",
        "done",
        "draining",
        "exclusive_id",
        "leases",
        "link",
        "link_gone_at",
        "measured_at",
        "name",
        "offered_bytes",
        "older_id",
        "rate",
        "session_epoch",
        "session_id",
        "stopping",
        "tenant",
        "window",
    )

    def __init__(
        self, session_id: str, tenant: str, name: str, link: Any, session_epoch: int
    ) -> None:
        self.session_id = session_id
        self.tenant = tenant
        self.name = name
        self.link = link
        self.session_epoch = session_epoch
        self.link_gone_at: float | None = None
        self.older_id = ""  # the host's session before this one
        self.draining = False
        self.agents: dict[str, AgentSlots] = {}
        self.leases: dict[int, Any] = {}  # contract id -> contract
        self.stopping: dict[tuple[int, int], AgentSlots] = {}  # slots until the host confirms
        self.active = 0  # slots taken
        self.window = 0  # slots in all
        self.offered_bytes = 0  # of assignments that it has not accepted yet
        self.exclusive_id = 0  # the contract that it is, or will be, alone with
        self.done = 0  # slots given back since the last measurement
        self.measured_at = 0.0  # monotonic seconds
        self.rate = 0.0  # slots given back per second, when last measured

    def measure(self, now: float) -> None:
        """Note how fast it has worked since the last time; `now` in monotonic seconds."""
        passed = now - self.measured_at
        if passed > 0:
            self.rate = self.done / passed
            self.done, self.measured_at = 0, now

    def is_newer_than(self, other: Host) -> bool:
        """Whether both are sessions of one host, and the other began before this one."""
        same = (self.tenant, self.name) == (other.tenant, other.name)
        return same and self.session_epoch > other.session_epoch

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs there. What waits for children does not."""
        return not self.active and all(each.lease.suspended for each in self.leases.values())

    @property
    def is_full(self) -> bool:
        """Whether it is to read what it was offered before it is offered more."""
        return self.offered_bytes >= limits.HOST_OFFERED_BYTES_MAX

    @property
    def reachable(self) -> bool:
        """Whether it can be handed anything new."""
        return self.link is not None and not self.draining and not self.is_full


class AgentSlots:
    """An agent and its window."""

    __slots__ = (
        "active",
        "draining",
        "host",
        "kind",
        "name",
        "offers",
        "pools",
        "suspended",
        "versions",
        "window",
    )

    def __init__(
        self, host: Host, name: str, kind: str, window: int, offers: dict[str, list[Version]]
    ) -> None:
        self.host = host
        self.name = name
        self.kind = kind
        self.window = window
        self.offers = offers
        self.active = 0
        self.suspended = 0
        self.draining = False
        # Of the lanes that somebody has asked for; shared while there is none, as most agents are
        # idle.
        self.pools: tuple[Pool, ...] = ()
        self.versions: Mapping[PoolKey, str] = _NO_VERSIONS  # which one serves the lane

    @property
    def free(self) -> int:
        """Slots it could take now; negative after a resumption beyond the window."""
        return self.window - self.active

    def version_for(self, capability: str, selector: Selector) -> Version | None:
        """The newest version it offers that the selector accepts."""
        fitting = [v for v in self.offers.get(capability, ()) if selector.accepts(v)]
        return max(fitting) if fitting else None


class Pool:
    """The agents that can serve one lane."""

    __slots__ = ("_current", "_in_ring", "_rota", "_run", "agents", "key", "ready", "selector")

    def __init__(self, key: PoolKey) -> None:
        self.key = key
        self.selector = parse_selector(key[2])
        self.agents: dict[tuple[str, str], AgentSlots] = {}  # by session and name
        self.ready: dict[str, deque[AgentSlots]] = {}  # by session; may hold agents that are full
        self._in_ring: set[AgentSlots] = set()
        self._rota: deque[Host] = deque()
        self._current: Host | None = None
        self._run = 0

    def offer(self, agent: AgentSlots) -> None:
        """Note that the agent has a free slot."""
        if agent in self._in_ring:
            return
        self._in_ring.add(agent)
        ring = self.ready.get(agent.host.session_id)
        if ring is None:
            ring = self.ready[agent.host.session_id] = deque()
            self._rota.append(agent.host)
        ring.append(agent)

    def forget_host(self, host: Host) -> None:
        """Drop a host whose session is over."""
        ring = self.ready.pop(host.session_id, None)
        if ring is not None:
            self._in_ring.difference_update(ring)
            self._rota.remove(host)
        if self._current is host:
            self._current = None

    def choose(self, excluded: set[str] | None) -> AgentSlots | None:
        """An agent with a free slot; it stays in its ring. None when the looks found none."""
        if excluded and all(a.name in excluded or a.draining for a in self.agents.values()):
            excluded = None  # they have all failed it: better one of them than nobody
        if self._current is not None and self._run > 0:
            agent = self._look(self._current, excluded)
            if agent is not None:
                self._run -= 1
                return agent
        # One round finds somebody, as a rule. More are needed only past hosts that are full, and
        # those leave the rota on the way, so what is looked at in vain is looked at once.
        for _ in range(1 + len(self._rota) // LOOKS):
            for host in self._least_loaded():
                agent = self._look(host, excluded)
                if agent is not None:
                    self._current = host
                    return agent
        self._current = None
        return None

    def _least_loaded(self) -> list[Host]:
        """Up to `LOOKS` hosts of the rota that have somebody ready, the least loaded first."""
        hosts: list[Host] = []
        for _ in range(min(LOOKS, len(self._rota))):
            host = self._rota.popleft()
            if not self.ready[host.session_id]:
                del self.ready[host.session_id]
                continue
            self._rota.append(host)
            if not host.exclusive_id:
                hosts.append(host)
        hosts.sort(key=_load)
        if len(hosts) > 1:
            # Up to what the host does in a moment, so that its frames fill; one that does little
            # gets one at a time, so that a handful of contracts run beside each other.
            lead = hosts[1].active - hosts[0].active
            moment = int(hosts[0].rate * RUN_SECONDS)
            self._run = min(RUN_MAX, max(1, lead, moment)) - 1
        else:
            self._run = RUN_MAX
        return hosts

    def _look(self, host: Host, excluded: set[str] | None) -> AgentSlots | None:
        ring = self.ready.get(host.session_id)
        if not ring or host.exclusive_id or not host.reachable:
            return None
        looks = min(LOOKS + len(excluded or ()), len(ring))
        while ring and looks:
            agent = ring[0]
            if agent.active >= agent.window or agent.draining:
                ring.popleft()
                self._in_ring.discard(agent)
                continue
            ring.rotate(-1)
            if not excluded or agent.name not in excluded:
                return agent
            looks -= 1
        return None

    def choose_alone(self, contract_id: int, *, reserve: bool) -> AgentSlots | None:
        """An agent on a host where nothing else runs; the contract then has that for itself.
        Without one, `reserve` keeps everything new from the least busy host."""
        best: Host | None = None
        for host in {agent.host.session_id: agent.host for agent in self.agents.values()}.values():
            if host.exclusive_id not in (0, contract_id) or not host.reachable:
                continue
            if host.exclusive_id == contract_id:
                best = host
                break
            if best is None or host.active < best.active:
                best = host
        if best is None:
            return None
        agent = None
        if best.is_idle:
            candidates = (a for a in self.agents.values() if a.host is best and not a.draining)
            agent = next((each for each in candidates if each.free > 0), None)
        if reserve or agent is not None:
            best.exclusive_id = contract_id
        return agent


def _load(host: Host) -> float:
    """Share of its slots that is taken."""
    return host.active / host.window if host.window else 1.0


class Fleet:
    """All hosts, agents and pools."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}  # by session
        self.by_name: dict[tuple[str, str], AgentSlots] = {}  # by tenant and agent name
        self._pools: dict[PoolKey, Pool] = {}
        self._pools_of: dict[tuple[str, str], list[Pool]] = {}  # by tenant and capability

    def pool(self, key: PoolKey) -> Pool:
        """The pool of a lane; made from all agents where it is missing."""
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(key)
            self._pools_of.setdefault(key[:2], []).append(pool)
            for host in self.hosts.values():
                for agent in host.agents.values():
                    self._join(agent, pool)
        return pool

    def _join(self, agent: AgentSlots, pool: Pool) -> None:
        tenant, capability, _ = pool.key
        if agent.host.tenant != tenant:
            return
        version = agent.version_for(capability, pool.selector)
        if version is None:
            return
        agent.versions = {**agent.versions, pool.key: str(version)}
        agent.pools += (pool,)
        pool.agents[agent.host.session_id, agent.name] = agent
        if agent.free > 0 and not agent.draining:
            pool.offer(agent)

    def preferred(self, pool: Pool, name: str, excluded: set[str] | None) -> AgentSlots | None:
        """The agent of this name, if it is one of the pool's and could be handed something now."""
        agent = self.by_name.get((pool.key[0], name))
        if agent is None or agent.free <= 0 or agent.draining or pool not in agent.pools:
            return None
        host = agent.host
        fits = host.reachable and not host.exclusive_id and name not in (excluded or ())
        return agent if fits else None

    def attach(self, agent: AgentSlots) -> None:
        """Add an agent to its host and to every pool it fits."""
        host = agent.host
        host.agents[agent.name] = agent
        host.window += agent.window
        self.by_name[host.tenant, agent.name] = agent
        for capability in agent.offers:
            for pool in self._pools_of.get((host.tenant, capability), ()):
                self._join(agent, pool)

    def lend(self, agent: AgentSlots, slots: int) -> None:
        """So many of the agent's slots are lent from now on, taken ones included."""
        agent.host.window += slots - agent.window
        agent.window = slots
        if agent.free > 0 and not agent.draining:
            self._offer(agent)

    def detach(self, agent: AgentSlots) -> None:
        """Take an agent away; what it holds goes on, and counts against nobody's window."""
        host = agent.host
        if host.agents.get(agent.name) is agent:
            del host.agents[agent.name]
            host.window -= agent.window
        if self.by_name.get((host.tenant, agent.name)) is agent:
            del self.by_name[host.tenant, agent.name]
        agent.draining = True
        for pool in agent.pools:
            pool.agents.pop((host.session_id, agent.name), None)
        agent.pools = ()

    def remove_host(self, host: Host) -> None:
        """Drop a host with its agents."""
        self.hosts.pop(host.session_id, None)
        pools = {pool.key: pool for agent in host.agents.values() for pool in agent.pools}
        for agent in list(host.agents.values()):
            self.detach(agent)
        for pool in pools.values():
            pool.forget_host(host)

    def take(self, agent: AgentSlots) -> None:
        """Take a slot."""
        agent.active += 1
        agent.host.active += 1

    def free(self, agent: AgentSlots) -> None:
        """Give a slot back."""
        host = agent.host
        agent.active -= 1
        host.active -= 1
        host.done += 1
        if agent.window - agent.active == 1 and not agent.draining:
            self._offer(agent)

    def _offer(self, agent: AgentSlots) -> None:
        # It was full, so it may have left the rings.
        for pool in agent.pools:
            pool.offer(agent)
