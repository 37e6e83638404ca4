"""Between the core's records and the wire's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import NamedTuple

from google.protobuf.message import Message

from muster.model import limits
from muster.model.errors import InvalidArgument, Violation
from muster.model.versions import parse_selector, parse_version
from muster.registry.core import Change
from muster.registry.core_agents import Agent, AgentState, Filter, Key, Offer
from muster.registry.core_catalogue import Catalogue, Entry, Name
from muster.v1 import agent_pb2, capability_pb2, catalogue_service_pb2, registry_service_pb2
from muster.wire.times import ms_of_timestamp

# A page ends here: schemas are large, and a message may have 4 MiB.
PAGE_BYTES_MAX = limits.MESSAGE_BYTES_MAX // 2


class Offered(NamedTuple):
    """What an agent offers: one object for all agents that offer the same. The bytes are of an
    `AgentSpec` that holds capabilities and nothing else."""

    full: bytes
    listed: bytes  # without schemas
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """An agent as it was reported. Kept are bytes and no messages: a parsed message has an arena of
    its own, over 1 KB for the smallest agent."""

    told: bytes  # all but its capabilities
    offered: Offered


def agent_of_message(message: agent_pb2.Agent) -> Agent:
    """The core's record. What many agents have in common is one object.

    Raises `InvalidArgument` for a state that there is not.
    """
    told, offering = agent_pb2.Agent(), agent_pb2.AgentSpec()
    told.CopyFrom(message)
    offering.capabilities.extend(message.spec.capabilities)
    told.spec.ClearField("capabilities")
    offered = _offered(offering.SerializeToString(deterministic=True))
    spec = told.spec
    return Agent(
        key=Key(intern(message.tenant), spec.name),
        kind=intern(spec.kind),
        host=intern(message.host),
        session_id=intern(message.session_id),
        state=_state_of(message.state),
        labels=_labels(tuple(sorted(spec.labels.items()))),
        offers=offered.offers,
        since_ms=ms_of_timestamp(message.create_time),
        body=Body(told.SerializeToString(deterministic=True), offered),
    )


def _offered(full: bytes) -> Offered:
    return _shared_offered(full) if len(full) <= limits.SPEC_SHARED_BYTES_MAX else _parsed(full)


def _parsed(full: bytes) -> Offered:
    spec = agent_pb2.AgentSpec.FromString(full)
    offers = (Offer(each.name, parse_version(each.version)) for each in spec.capabilities)
    found = tuple(dict.fromkeys(offers))
    for capability in spec.capabilities:
        capability.ClearField("input")
        capability.ClearField("output")
    return Offered(full, spec.SerializeToString(deterministic=True), found)


_shared_offered = lru_cache(limits.SPECS_SHARED_MAX)(_parsed)


@lru_cache(limits.SPECS_SHARED_MAX)
def _labels(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return MappingProxyType(dict(pairs))


def _state_of(number: int) -> AgentState:
    try:
        return AgentState(number or AgentState.READY)
    except ValueError:
        text = "must be READY, DRAINING, LOST or unspecified"
        violations = [Violation("agents.state", text)]
        raise InvalidArgument(f"agents.state {text}", violations=violations) from None


def listed_agent(agent: Agent) -> agent_pb2.Agent:
    """The agent without schemas."""
    assert isinstance(agent.body, Body)
    return _message(agent, agent.body.told, agent.body.offered.listed)


def full_agent(agent: Agent, catalogue: Catalogue) -> agent_pb2.Agent:
    """The agent with schemas; those that its executor has left out come from the catalogue."""
    assert isinstance(agent.body, Body)
    message = _message(agent, agent.body.told, agent.body.offered.full)
    for capability in message.spec.capabilities:
        if not _has_schemas(capability):
            name = Name(capability.name, parse_version(capability.version))
            entry = catalogue.find(agent.key.tenant, name)
            if entry is not None:
                capability.MergeFrom(body_of_entry(entry).capability)
    return message


def filter_of_message(message: registry_service_pb2.AgentFilter) -> Filter:
    """The core's filter. An unspecified state among others means any."""
    states = frozenset(message.states)
    return Filter(
        kinds=frozenset(message.kinds),
        capability=message.capability.name,
        selector=parse_selector(message.capability.version),
        states=frozenset() if agent_pb2.AGENT_STATE_UNSPECIFIED in states else states,
        host=message.host,
        labels=dict(message.labels),
    )


def change_for(
    change: Change, tenant: str, chosen: Filter
) -> registry_service_pb2.AgentChange | None:
    """What a watcher is told of a change; None when it does not concern it."""
    after = change.after
    if after is not None and after.key.tenant == tenant and chosen.accepts(after):
        return put_change(after)
    before = change.before
    if before is not None and before.key.tenant == tenant and chosen.accepts(before):
        gone = agent_pb2.Agent(tenant=tenant)
        gone.spec.name = before.key.name
        return registry_service_pb2.AgentChange(
            type=registry_service_pb2.AGENT_CHANGE_TYPE_GONE, agent=gone
        )
    return None


def put_change(agent: Agent) -> registry_service_pb2.AgentChange:
    """Tells that an agent is there, or has changed."""
    return registry_service_pb2.AgentChange(
        type=registry_service_pb2.AGENT_CHANGE_TYPE_PUT, agent=listed_agent(agent)
    )


def entry_of_message(message: capability_pb2.CatalogueEntry) -> Entry:
    """The core's catalogue entry."""
    capability = message.capability
    return Entry(Name(capability.name, parse_version(capability.version)), message)


def body_of_entry(entry: Entry) -> capability_pb2.CatalogueEntry:
    """The message that the entry was made of."""
    assert isinstance(entry.body, capability_pb2.CatalogueEntry)
    return entry.body


def entries_of_frame(
    frame: catalogue_service_pb2.WatchCatalogueResponse,
) -> Iterator[tuple[str, Entry]]:
    """Tenant and entry, in order."""
    for each in frame.entries:
        yield each.tenant, entry_of_message(each.entry)


def in_frames(
    changes: Iterable[registry_service_pb2.AgentChange],
) -> Iterator[list[registry_service_pb2.AgentChange]]:
    """The changes in lists that fit a frame; one that is too large for any travels alone."""
    frame: list[registry_service_pb2.AgentChange] = []
    size = 0
    for change in changes:
        more = change.ByteSize()
        if frame and (len(frame) == limits.FRAME_ITEMS_MAX or size + more > limits.FRAME_BYTES_MAX):
            yield frame
            frame, size = [], 0
        frame.append(change)
        size += more
    if frame:
        yield frame


def fitting(messages: Iterable[Message], bytes_max: int = PAGE_BYTES_MAX) -> int:
    """How many of the messages, from the first, fit a page; at least one, if there is one."""
    count = size = 0
    for message in messages:
        size += message.ByteSize()
        if count and size > bytes_max:
            break
        count += 1
    return count


def _message(agent: Agent, told: bytes, offering: bytes) -> agent_pb2.Agent:
    message = agent_pb2.Agent.FromString(told)
    message.spec.MergeFromString(offering)
    message.state = agent_pb2.AgentState.ValueType(agent.state)
    return message


def _has_schemas(capability: capability_pb2.Capability) -> bool:
    return capability.HasField("input") or capability.HasField("output")
