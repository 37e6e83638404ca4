"""Finds agents: by name in order, and by capability without looking at the others.

Names are kept sorted, so that a page begins with a bisection. Inserting moves what follows, 8 bytes
a name: 40 µs for a tenant of a million, which is far beyond what one registry is for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from muster.model.versions import Selector, Version
from muster.registry.core_agents import Agent, Filter, Key


class Page(NamedTuple):
    """Some agents, ordered by name; whether more follow; how many there are on all pages."""

    agents: list[Agent]
    rest: bool
    total: int


class Index:
    """The visible agents of every tenant."""

    def __init__(self) -> None:
        self._agents: dict[Key, Agent] = {}
        self._names: dict[str, list[str]] = {}
        # (tenant, capability) -> major version -> sorted names
        self._offering: dict[tuple[str, str], dict[int, list[str]]] = {}
        self._counts: Counter[tuple[str, str, Version]] = Counter()

    def __len__(self) -> int:
        return len(self._agents)

    def agents(self) -> Iterator[Agent]:
        """Every agent of every tenant, in no order."""
        return iter(self._agents.values())

    def get(self, key: Key) -> Agent | None:
        """The visible agent of that name."""
        return self._agents.get(key)

    def put(self, agent: Agent) -> None:
        """Adds an agent, or replaces the one of its name."""
        before = self._agents.get(agent.key)
        if before is None:
            insort(self._names.setdefault(agent.key.tenant, []), agent.key.name)
        if before is None or before.offers != agent.offers:
            if before is not None:
                self._forget_offers(before)
            self._note_offers(agent)
        self._agents[agent.key] = agent

    def remove(self, key: Key) -> None:
        """Takes an agent away that is there."""
        agent = self._agents.pop(key)
        names = self._names[key.tenant]
        _take_out(names, key.name)
        if not names:
            del self._names[key.tenant]
        self._forget_offers(agent)

    def keys(self, tenant: str) -> list[Key]:
        """Every agent of the tenant, ordered by name; a copy."""
        return [Key(tenant, name) for name in self._names.get(tenant, ())]

    def offering(self, tenant: str, capability: str, selector: Selector) -> Iterator[Agent]:
        """Agents that offer the capability in an acceptable version, ordered by name.

        Lazily, so that taking the first few costs microseconds however many there are.
        """
        chosen = Filter(capability=capability, selector=selector)
        return self._accepted(tenant, chosen, "")

    def count(self, tenant: str, capability: str, version: Version) -> int:
        """How many agents offer exactly this version."""
        return self._counts[tenant, capability, version]

    def page(self, tenant: str, chosen: Filter, after: str, size: int) -> Page:
        """At most `size` agents whose names come after `after`.

        The total needs a look at every candidate, unless the filter has no more than a capability.
        """
        agents = list(islice(self._accepted(tenant, chosen, after), size + 1))
        return Page(agents[:size], len(agents) > size, self._total(tenant, chosen))

    def _total(self, tenant: str, chosen: Filter) -> int:
        if chosen.is_open:
            return len(self._names.get(tenant, ()))
        exactly = self._exactly(tenant, chosen)
        if exactly is not None:
            return len(exactly)
        return sum(1 for _ in self._accepted(tenant, chosen, ""))

    def _accepted(self, tenant: str, chosen: Filter, after: str) -> Iterator[Agent]:
        for name in self._candidates(tenant, chosen, after):
            agent = self._agents[Key(tenant, name)]
            if chosen.accepts(agent):
                yield agent

    def _exactly(self, tenant: str, chosen: Filter) -> Sequence[str] | None:
        """The names that a filter chooses, where one list of the index holds just these."""
        selector = chosen.selector
        only_capability = Filter(capability=chosen.capability, selector=selector) == chosen
        if not only_capability or selector.minor or selector.exact:
            return None
        lists = self._lists(tenant, chosen)
        return lists[0] if len(lists) == 1 else None

    def _candidates(self, tenant: str, chosen: Filter, after: str) -> Iterator[str]:
        if not chosen.capability:
            return _names_after(self._names.get(tenant, ()), after)
        lists = [_names_after(names, after) for names in self._lists(tenant, chosen)]
        return lists[0] if len(lists) == 1 else _without_repeats(merge(*lists))

    def _lists(self, tenant: str, chosen: Filter) -> list[list[str]]:
        """Names with the chosen capability, a list for each major version that may do."""
        by_major = self._offering.get((tenant, chosen.capability), {})
        selector = chosen.selector
        major = selector.exact.major if selector.exact else selector.major
        return [names for each, names in by_major.items() if major is None or each == major]

    def _note_offers(self, agent: Agent) -> None:
        tenant, name = agent.key
        for capability, version in agent.offers:
            by_major = self._offering.setdefault((tenant, capability), {})
            names = by_major.setdefault(version.major, [])
            at = bisect_left(names, name)
            if at == len(names) or names[at] != name:
                names.insert(at, name)
            self._counts[tenant, capability, version] += 1

    def _forget_offers(self, agent: Agent) -> None:
        tenant, name = agent.key
        for capability, version in agent.offers:
            counted = (tenant, capability, version)
            self._counts[counted] -= 1
            if not self._counts[counted]:
                del self._counts[counted]
            by_major = self._offering.get((tenant, capability), {})
            names = by_major.get(version.major)
            if names is None:
                continue
            _take_out(names, name)
            if not names:
                del by_major[version.major]
            if not by_major:
                del self._offering[tenant, capability]


def _names_after(names: Sequence[str], after: str) -> Iterator[str]:
    return map(names.__getitem__, range(bisect_right(names, after), len(names)))


def _take_out(names: list[str], name: str) -> None:
    """Removes a name if it is there: two minor versions of one agent share an entry."""
    at = bisect_left(names, name)
    if at < len(names) and names[at] == name:
        del names[at]


def _without_repeats(names: Iterator[str]) -> Iterator[str]:
    last = ""
    for name in names:
        if name != last:
            last = name
            yield name
