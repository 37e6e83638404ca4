"""Agents' specifications as the executor keeps them, which is for as long as the agents stay.

Kept are bytes and no messages: a parsed message has an arena of its own, over 1 KB for the smallest
agent. The name stands apart, so that agents that differ in nothing else share the rest.
"""

from __future__ import annotations

from functools import lru_cache

from muster.model import limits
from muster.v1.agent_pb2 import AgentSpec


def kept_spec(spec: AgentSpec) -> bytes:
    """Everything of a specification but its name."""
    rest = AgentSpec()
    rest.CopyFrom(spec)
    rest.ClearField("name")
    for subscription in rest.event_subscriptions:
        # Where it begins is each agent's own, and of the moment.
        subscription.ClearField("since")
        subscription.ClearField("from_sequence")
    kept = rest.SerializeToString(deterministic=True)
    return _shared(kept) if len(kept) <= limits.SPEC_SHARED_BYTES_MAX else kept


def fill_spec(spec: AgentSpec, name: str, kept: bytes) -> None:
    """Makes an empty specification the one that was kept of an agent."""
    spec.MergeFromString(kept)
    spec.name = name


@lru_cache(limits.SPECS_SHARED_MAX)
def _shared(kept: bytes) -> bytes:
    """The first of equal ones."""
    return kept


@lru_cache(limits.SPECS_SHARED_MAX)
def offers_of(kept: bytes) -> frozenset[str]:
    """The names of the capabilities in a specification that was kept."""
    return frozenset(each.name for each in AgentSpec.FromString(kept).capabilities)


@lru_cache(limits.SPECS_SHARED_MAX)
def kind_of(kept: bytes) -> str:
    """The kind in a specification that was kept."""
    return AgentSpec.FromString(kept).kind
