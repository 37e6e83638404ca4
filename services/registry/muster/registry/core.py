"""Presence: who is there, decided from what executors and agents report.

Everything is a *claim*: "this agent is there", made by an executor for an agent on one of its
sessions, or by an agent that registered without a session. What is visible of a name is its highest
claim: one with a session before one without, then the newer, then the larger session id. So what is
visible depends on which claims stand, never on the order in which reports arrived, and an old
executor that has not noticed yet that a host has moved does no harm.

An executor's claims stand while its stream does, and for a grace after it. A new stream confirms
them: what it has not named within the grace is gone, so that a level too large for one message can
be sent in several. A registration stands for its time to live, is LOST for as long again, and is
gone then; a heartbeat makes it what it was.

Nothing here is durable. `first_revision` must be larger than every revision before a restart, so
that a watcher's old revision is recognised, and answered with the whole level.

All `now` are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

from muster.model import limits
from muster.model.errors import Fenced, NotFound, ResourceExhausted
from muster.model.versions import Selector, Version
from muster.registry.core_agents import Agent, AgentState, Filter, Key
from muster.registry.core_index import Index, Page

_LOOKS_SPARE = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """What became visible or stopped to be: `after` is None when the agent is gone."""

    revision: int
    before: Agent | None
    after: Agent | None


@dataclass(slots=True)
class _Executor:
    alone: tuple[str]  # its name, for the agents that nobody else claims
    incarnation: int
    stream: int
    claims: dict[Key, Agent] = field(default_factory=dict)
    # Claims of an earlier stream that this one has not confirmed, and when they end.
    unconfirmed: set[Key] = field(default_factory=set)
    confirm_by: float = 0.0
    # When everything ends; None while the stream is open.
    ends_at: float | None = None


@dataclass(slots=True)
class _Registration:
    agent: Agent
    state: AgentState
    seconds: float
    silent_since: float


class Presence:
    """The agents of every tenant. Methods that may change what is visible raise `revision`."""

    def __init__(
        self,
        first_revision: int = 1,
        grace_seconds: float = limits.PRESENCE_GRACE_SECONDS,
        changes_max: int = limits.AGENT_CHANGES_KEPT_MAX,
    ) -> None:
        self._grace = grace_seconds
        self._executors: dict[str, _Executor] = {}
        self._registrations: dict[str, _Registration] = {}
        self._registered: dict[Key, str] = {}
        # (when to look at a registration again, its id); never later than its next change.
        self._looks: list[tuple[float, str]] = []
        self._claimants: dict[Key, tuple[str, ...]] = {}
        self._index = Index()
        # By revision; revisions grow by one with each change.
        self._changes: dict[int, Change] = {}
        self._changes_max = changes_max
        self._revision = first_revision
        self._streams = 0

    # --- what executors report --------------------------------------------------------------------

    def open_stream(
        self, executor: str, incarnation: int, agents: Sequence[Agent], now: float
    ) -> int:
        """A stream begins, with the executor's level or its first part; returns its number.

        Raises `Fenced` (SUPERSEDED) while a newer incarnation of the executor has a stream.
        """
        known = self._executors.get(executor)
        if known and known.ends_at is None and incarnation < known.incarnation:
            raise _superseded(executor)
        self._require_room(agents)
        self._streams += 1
        if known is None:
            known = _Executor((executor,), incarnation, self._streams)
            self._executors[executor] = known
        known.incarnation, known.stream = incarnation, self._streams
        known.unconfirmed, known.confirm_by = set(known.claims), now + self._grace
        known.ends_at = None
        self._claim(executor, known, agents)
        return known.stream

    def update(
        self,
        executor: str,
        stream: int,
        agents: Sequence[Agent],
        gone: Iterable[tuple[Key, str]],
    ) -> None:
        """Agents that are there or have changed, then agents (with their session) that are gone.

        Raises `Fenced` (SUPERSEDED) when a newer stream of the executor has taken over.
        """
        known = self._executors.get(executor)
        if known is None or known.stream != stream:
            raise _superseded(executor)
        self._require_room(agents)
        self._claim(executor, known, agents)
        for key, session_id in gone:
            claim = known.claims.get(key)
            if claim is not None and claim.session_id == session_id:
                self._unclaim(executor, known, [key])

    def close_stream(self, executor: str, stream: int, now: float) -> None:
        """A stream has ended; its claims stand for the grace. Nothing for an older stream."""
        known = self._executors.get(executor)
        if known is not None and known.stream == stream:
            known.ends_at = now + self._grace

    # --- agents without a session -----------------------------------------------------------------

    def register(self, registration_id: str, agent: Agent, seconds: float, now: float) -> None:
        """Registers an agent for `seconds`; an earlier registration of its name ends.

        `registration_id` must be new and not to be guessed. Raises `ResourceExhausted`.
        """
        earlier = self._registered.get(agent.key)
        if earlier is None and len(self._registrations) >= limits.REGISTRATIONS_MAX:
            raise ResourceExhausted(f"{limits.REGISTRATIONS_MAX} agents are registered already")
        if earlier is not None:
            del self._registrations[earlier]
        self._registrations[registration_id] = _Registration(agent, agent.state, seconds, now)
        self._registered[agent.key] = registration_id
        heappush(self._looks, (now + seconds, registration_id))
        if len(self._looks) > 2 * len(self._registrations) + _LOOKS_SPARE:
            # Mostly registrations that are long replaced.
            self._looks = [look for look in self._looks if look[1] in self._registrations]
            heapify(self._looks)
        self._settle(agent.key)

    def heartbeat(
        self, tenant: str, registration_id: str, state: AgentState | None, now: float
    ) -> float:
        """Keeps a registration, in a new state unless that is None; returns its time to live.

        Raises `NotFound` (REGISTRATION_UNKNOWN), for another tenant's as well.
        """
        found = self._registrations.get(registration_id)
        if found is None or found.agent.key.tenant != tenant:
            raise NotFound(
                "there is no such registration; register again", reason="REGISTRATION_UNKNOWN"
            )
        found.state = state or found.state
        found.agent = replace(found.agent, state=found.state)
        found.silent_since = now
        self._settle(found.agent.key)
        return found.seconds

    def deregister(self, tenant: str, registration_id: str) -> None:
        """Ends a registration; nothing where there is none."""
        found = self._registrations.get(registration_id)
        if found is not None and found.agent.key.tenant == tenant:
            self._drop_registration(registration_id, found)

    # --- time -------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Ends what time has ended. Call it every half second or so."""
        for executor, known in list(self._executors.items()):
            if known.ends_at is not None and known.ends_at <= now:
                self._unclaim(executor, known, list(known.claims))
                del self._executors[executor]
            elif known.unconfirmed and known.confirm_by <= now:
                self._unclaim(executor, known, list(known.unconfirmed))
        while self._looks and self._looks[0][0] <= now:
            self._judge(heappop(self._looks)[1], now)

    def forgive(self, seconds: float) -> None:
        """Gives everything that is judged `seconds` more: the judge itself had stalled."""
        for known in self._executors.values():
            known.confirm_by += seconds
            if known.ends_at is not None:
                known.ends_at += seconds
        for found in self._registrations.values():
            found.silent_since += seconds

    # --- questions --------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """Of the newest change."""
        return self._revision

    @property
    def executors(self) -> int:
        """How many executors report presence."""
        return sum(known.ends_at is None for known in self._executors.values())

    def __len__(self) -> int:
        """How many agents are visible, over all tenants."""
        return len(self._index)

    def get(self, key: Key) -> Agent:
        """The visible agent; raises `NotFound` (AGENT_UNKNOWN)."""
        agent = self._index.get(key)
        if agent is None:
            raise NotFound("there is no such agent", reason="AGENT_UNKNOWN")
        return agent

    def page(self, tenant: str, chosen: Filter, after: str, size: int) -> Page:
        """At most `size` agents of the tenant, by name, whose names come after `after`."""
        return self._index.page(tenant, chosen, after, size)

    def offering(self, tenant: str, capability: str, selector: Selector) -> Iterator[Agent]:
        """Agents that offer a capability, by name; lazily, and only until the next change."""
        return self._index.offering(tenant, capability, selector)

    def count(self, tenant: str, capability: str, version: Version) -> int:
        """How many agents offer exactly this version."""
        return self._index.count(tenant, capability, version)

    def keys(self, tenant: str) -> list[Key]:
        """Every visible agent of the tenant, ordered by name."""
        return self._index.keys(tenant)

    def agents(self) -> Iterator[Agent]:
        """Every visible agent of every tenant, in no order; only until the next change."""
        return self._index.agents()

    def find(self, key: Key) -> Agent | None:
        """The visible agent, or None."""
        return self._index.get(key)

    def changes_after(self, revision: int, changes_max: int) -> list[Change] | None:
        """The next changes after `revision`; None where they are not all kept, or never were."""
        if not 0 <= self._revision - revision <= len(self._changes):
            return None
        last = min(self._revision, revision + changes_max)
        return [self._changes[number] for number in range(revision + 1, last + 1)]

    # --- claims -----------------------------------------------------------------------------------

    def _require_room(self, agents: Sequence[Agent]) -> None:
        new = sum(agent.key not in self._claimants for agent in agents)
        if len(self._claimants) + new > limits.PRESENCE_AGENTS_MAX:
            raise ResourceExhausted(f"{limits.PRESENCE_AGENTS_MAX} agents are known already")

    def _claim(self, executor: str, known: _Executor, agents: Sequence[Agent]) -> None:
        for agent in agents:
            known.claims[agent.key] = agent
            known.unconfirmed.discard(agent.key)
            others = self._claimants.get(agent.key, ())
            if executor not in others:
                self._claimants[agent.key] = (*others, executor) if others else known.alone
            self._settle(agent.key)

    def _unclaim(self, executor: str, known: _Executor, keys: Collection[Key]) -> None:
        for key in keys:
            del known.claims[key]
            known.unconfirmed.discard(key)
            others = tuple(name for name in self._claimants[key] if name != executor)
            if others:
                self._claimants[key] = others
            else:
                del self._claimants[key]
            self._settle(key)

    def _judge(self, registration_id: str, now: float) -> None:
        found = self._registrations.get(registration_id)
        if found is None:
            return
        lost_at = found.silent_since + found.seconds
        if now >= lost_at + found.seconds:
            self._drop_registration(registration_id, found)
            return
        if now >= lost_at:
            found.agent = replace(found.agent, state=AgentState.LOST)
            self._settle(found.agent.key)
        look_at = lost_at + found.seconds if now >= lost_at else lost_at
        heappush(self._looks, (look_at, registration_id))

    def _drop_registration(self, registration_id: str, found: _Registration) -> None:
        del self._registrations[registration_id]
        del self._registered[found.agent.key]
        self._settle(found.agent.key)

    def _settle(self, key: Key) -> None:
        """Makes the highest claim of a name the visible one."""
        before, after = self._index.get(key), self._highest(key)
        if before == after:
            return
        if after is None:
            self._index.remove(key)
        else:
            self._index.put(after)
        self._revision += 1
        self._changes[self._revision] = Change(self._revision, before, after)
        self._changes.pop(self._revision - self._changes_max, None)

    def _highest(self, key: Key) -> Agent | None:
        claims = [self._executors[name].claims[key] for name in self._claimants.get(key, ())]
        if claims:
            return max(claims, key=lambda claim: (claim.since_ms, claim.session_id))
        registration_id = self._registered.get(key)
        return self._registrations[registration_id].agent if registration_id else None


def _superseded(executor: str) -> Fenced:
    return Fenced(f"a newer stream of {executor} has taken over", reason="SUPERSEDED")
