"""Between the core's records and the wire's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Body:
    """An agent as it was reported, and without schemas; the same message where it has none."""

    full: agent_pb2.Agent
    listed: agent_pb2.Agent


def agent_of_message(message: agent_pb2.Agent) -> Agent:
    """The core's record; the message must not be changed afterwards.

    Raises `InvalidArgument` for a state that there is not.
    """
    spec = message.spec
    return Agent(
        key=Key(message.tenant, spec.name),
        kind=spec.kind,
        host=message.host,
        session_id=message.session_id,
        state=_state_of(message.state),
        labels=dict(spec.labels),
        offers=tuple(
            dict.fromkeys(
                Offer(each.name, parse_version(each.version)) for each in spec.capabilities
            )
        ),
        since_ms=ms_of_timestamp(message.create_time),
        body=Body(message, _without_schemas(message)),
    )


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
    return _in_state(agent.body.listed, agent.state)


def full_agent(agent: Agent, catalogue: Catalogue) -> agent_pb2.Agent:
    """The agent with schemas; those that its executor has left out come from the catalogue."""
    assert isinstance(agent.body, Body)
    message = agent_pb2.Agent()
    message.CopyFrom(_in_state(agent.body.full, agent.state))
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


def _offers(spec: agent_pb2.AgentSpec) -> tuple[Offer, ...]:
    offers = (Offer(each.name, parse_version(each.version)) for each in spec.capabilities)
    return tuple(dict.fromkeys(offers))


def _in_state(message: agent_pb2.Agent, state: AgentState) -> agent_pb2.Agent:
    if int(message.state) == state:
        return message
    changed = agent_pb2.Agent()
    changed.CopyFrom(message)
    changed.state = agent_pb2.AgentState.ValueType(state)
    return changed


def _has_schemas(capability: capability_pb2.Capability) -> bool:
    return capability.HasField("input") or capability.HasField("output")


def _without_schemas(message: agent_pb2.Agent) -> agent_pb2.Agent:
    if not any(_has_schemas(each) for each in message.spec.capabilities):
        return message
    listed = agent_pb2.Agent()
    listed.CopyFrom(message)
    for capability in listed.spec.capabilities:
        capability.ClearField("input")
        capability.ClearField("output")
    return listed
