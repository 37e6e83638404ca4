"""Which agents this registry keeps in the directory, and how.

Several registries see the same agents and share them: each keeps those that fall to it by name, so
each agent is registered once, and the others take over what a registry keeps that goes. Each agent
has an entry of its own while there are not too many; beyond that each host has one, and where even
hosts are too many, none has: then the registries themselves have to be asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from typing import NamedTuple

from muster.model.directory import Entry, State, TimeToLive, Upkeep, meta_list, meta_text, share_of
from muster.registry.core import Change
from muster.registry.core_agents import Agent, AgentState

_STATES = {
    AgentState.READY: State.PASSING,
    AgentState.DRAINING: State.WARNING,
    AgentState.LOST: State.CRITICAL,
}
_BACK_SHARE = 0.8  # there must be so much fewer before entries get finer again


class Grain(Enum):
    """What has an entry."""

    AGENTS = "each agent"
    HOSTS = "each host"
    NOTHING = "neither agents nor hosts"


_GRAINS = tuple(Grain)


class HostKey(NamedTuple):
    """Names a host in the mesh."""

    tenant: str
    host: str


class Enrolment:
    """Says to `upkeep` what should be there.

    `version_of` gives the version of an agent's own program.
    """

    def __init__(
        self,
        name: str,
        agents_max: int,
        upkeep: Upkeep,
        version_of: Callable[[Agent], str] = lambda _: "",
    ) -> None:
        self.grain = Grain.AGENTS
        self._name = name
        self._agents_max = agents_max
        self._upkeep = upkeep
        self._version_of = version_of
        self._members: Collection[str] | None = None  # None: it is not known who shares
        self._hosts: dict[HostKey, Counter[tuple[AgentState, str]]] = {}
        self._count = 0

    def members(self, names: Collection[str]) -> bool:
        """These registries share the agents; none: this one is alone. Returns whether everything
        has to be looked at again, with `level`."""
        changed = self._members != names
        self._members = frozenset(names)
        self._upkeep.has_heirs = bool(self._members - {self._name})
        return changed

    def level(self, agents: Collection[Agent]) -> None:
        """Every agent that is there."""
        self._hosts.clear()
        for agent in agents:
            self._note(agent, 1)
        self._count = len(agents)
        self.grain = self._fitting()
        wanted: dict[str, Entry] = {}
        if self.grain is Grain.AGENTS:
            wanted = {agent_id(agent): self._entry(agent) for agent in agents}
        elif self.grain is Grain.HOSTS:
            wanted = {host_id(key): self._host_entry(key) for key in self._hosts}
        for entry_id in self._upkeep.shared_ids():
            if entry_id not in wanted:
                self._upkeep.drop(entry_id)
        for entry in wanted.values():
            self._keep(entry)

    def changes(self, changes: Iterable[Change]) -> bool:
        """What has changed. True when `level` has to say everything again."""
        for change in changes:
            before, after = change.before, change.after
            if before is not None:
                self._note(before, -1)
            if after is not None:
                self._note(after, 1)
            self._count += (after is not None) - (before is not None)
            if self._members is not None:
                self._follow(before, after)
        return self._members is not None and self._fitting() is not self.grain

    def _follow(self, before: Agent | None, after: Agent | None) -> None:
        if self.grain is Grain.AGENTS:
            if after is not None:
                self._keep(self._entry(after))
            elif before is not None:
                self._upkeep.drop(agent_id(before))
        elif self.grain is Grain.HOSTS:
            for agent in (before, after):
                if agent is not None and agent.host:
                    self._follow_host(HostKey(agent.key.tenant, agent.host))

    def _follow_host(self, key: HostKey) -> None:
        if key in self._hosts:
            self._keep(self._host_entry(key))
        else:
            self._upkeep.drop(host_id(key))

    def _fitting(self) -> Grain:
        """The finest grain with not too many entries."""
        for grain, count in ((Grain.AGENTS, self._count), (Grain.HOSTS, len(self._hosts))):
            finer = _GRAINS.index(grain) < _GRAINS.index(self.grain)
            if count <= self._agents_max * (_BACK_SHARE if finer else 1):
                return grain
        return Grain.NOTHING

    def _keep(self, entry: Entry) -> None:
        if share_of(self._name, self._members or (), entry.id):
            self._upkeep.want(entry)
        else:
            self._upkeep.hand_over(entry.id)

    def _note(self, agent: Agent, count: int) -> None:
        if not agent.host:
            return  # it has registered without a session
        key = HostKey(agent.key.tenant, agent.host)
        noted = self._hosts.setdefault(key, Counter())
        noted[agent.state, agent.kind] += count
        if not noted[agent.state, agent.kind]:
            del noted[agent.state, agent.kind]
            if not noted:
                del self._hosts[key]

    def _entry(self, agent: Agent) -> Entry:
        meta = {
            "name": agent.key.name,
            "tenant": agent.key.tenant,
            "kind": agent.kind,
            "version": self._version_of(agent),
            "host": agent.host,
            "capabilities": meta_list(f"{each.capability}@{each.version}" for each in agent.offers),
            "zone": agent.labels.get("zone", ""),
        }
        return Entry(
            id=agent_id(agent),
            kind="agent",
            owner=self._name,
            check=TimeToLive(),
            meta={key: meta_text(value) for key, value in meta.items() if value},
            state=_STATES[agent.state],
        )

    def _host_entry(self, key: HostKey) -> Entry:
        noted = self._hosts[key]
        states = {state for state, _ in noted}
        kinds = sorted({kind for _, kind in noted if kind})
        meta = {"name": key.host, "tenant": key.tenant, "kinds": meta_list(kinds)}
        return Entry(
            id=host_id(key),
            kind="host",
            owner=self._name,
            check=TimeToLive(),
            meta={name: meta_text(value) for name, value in meta.items() if value},
            state=_STATES[min(states)],  # as its best agent
        )


def agent_id(agent: Agent) -> str:
    """Of an agent's entry."""
    return f"muster-agent:{agent.key.tenant}:{agent.key.name}"


def host_id(key: HostKey) -> str:
    """Of a host's entry."""
    return f"muster-host:{key.tenant}:{key.host}"
