"""What the registry knows of one agent, and which agents a filter chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from muster.model.versions import Selector, Version


class AgentState(IntEnum):
    """Whether an agent takes work. See `muster.v1.AgentState`."""

    READY = 1
    DRAINING = 2
    LOST = 3


class Key(NamedTuple):
    """Names an agent in the mesh."""

    tenant: str
    name: str


class Offer(NamedTuple):
    """One capability of an agent."""

    capability: str
    version: Version


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as somebody reported it. `body` is whatever the shell wants back, never looked at.

    `since_ms` is when it was attached or registered, by the clock of whoever reports it; of two
    reports of one name it only says which is newer.
    """

    key: Key
    kind: str = ""
    host: str = ""
    session_id: str = ""
    state: AgentState = AgentState.READY
    labels: Mapping[str, str] = field(default_factory=dict)
    offers: tuple[Offer, ...] = ()
    since_ms: int = 0
    body: object = None


ANY_VERSION = Selector(None, 0, None)


@dataclass(frozen=True, slots=True)
class Filter:
    """Chooses agents; everything that is set must hold. `selector` counts with `capability`."""

    kinds: frozenset[str] = frozenset()
    capability: str = ""
    selector: Selector = ANY_VERSION
    states: frozenset[int] = frozenset()
    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it chooses everything."""
        return self == EVERYTHING

    def accepts(self, agent: Agent) -> bool:
        """Whether it chooses this agent."""
        if self.capability and not any(
            offer.capability == self.capability and self.selector.accepts(offer.version)
            for offer in agent.offers
        ):
            return False
        return (
            (not self.kinds or agent.kind in self.kinds)
            and (not self.states or agent.state in self.states)
            and (not self.host or agent.host == self.host)
            and all(agent.labels.get(key) == value for key, value in self.labels.items())
        )


EVERYTHING = Filter()
