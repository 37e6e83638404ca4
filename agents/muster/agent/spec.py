"""What agents and their capabilities look like on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from muster.agent.topics.handler import group_of
from muster.model import limits
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability as CapabilityMessage
from muster.v1.capability_pb2 import Schema
from muster.v1.subscription_pb2 import SUBSCRIPTION_MODE_COMPETING, EventSubscription
from muster.wire.payload import json_text
from muster.wire.times import timestamp_of_seconds

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FileDescriptor

    from muster.agent.agent import Agent
    from muster.agent.capability import Capability
    from muster.agent.topics.handler import Handler


def agent_spec(agent: Agent) -> AgentSpec:
    """The agent as hello and attach name it."""
    spec = AgentSpec(
        name=agent.name,
        kind=agent.kind,
        version=agent.version,
        labels=agent.labels,
        max_in_flight=agent.max_in_flight,
    )
    for capability in agent.capabilities.values():
        spec.capabilities.append(capability_message(capability))
    for handler in agent.handlers.values():
        _fill_subscription(spec.event_subscriptions.add(), handler, agent.name)
    return spec


def _fill_subscription(subscription: EventSubscription, handler: Handler, agent: str) -> None:
    subscription.pattern = handler.pattern
    if handler.competing:
        subscription.mode = SUBSCRIPTION_MODE_COMPETING
        subscription.group = group_of(handler, agent)
        # What waits here could be worked on elsewhere.
        subscription.unacked_max = min(2 * handler.concurrency, limits.EVENTS_UNACKED_MAX)
    elif handler.concurrency > limits.EVENTS_UNACKED_BROADCAST_DEFAULT:
        subscription.unacked_max = min(handler.concurrency, limits.EVENTS_UNACKED_MAX)
    if handler.since is not None:
        subscription.since.CopyFrom(timestamp_of_seconds(handler.since))


def capability_message(capability: Capability) -> CapabilityMessage:
    """The capability with its schemas. Raises `ValueError` when a schema is too large."""
    made = CapabilityMessage(
        name=capability.name,
        version=capability.version,
        description=capability.description,
        idempotent=capability.idempotent,
    )
    if capability.input_message is not None:
        _fill_message_type(made.input, capability.input_message.DESCRIPTOR)
    else:
        made.input.json_schema = _schema_text(capability.name, capability.input)
    if capability.output_message is not None:
        _fill_message_type(made.output, capability.output_message.DESCRIPTOR)
    elif capability.output.schema:
        made.output.json_schema = _schema_text(capability.name, capability.output.schema)
    return made


def _schema_text(name: str, schema: object) -> str:
    text = json_text(schema)
    if len(text.encode()) > limits.SCHEMA_BYTES_MAX:
        message = f"a schema of {name} has more than {limits.SCHEMA_BYTES_MAX} bytes"
        raise ValueError(message)
    return text


def _fill_message_type(schema: Schema, descriptor: Descriptor) -> None:
    schema.message.full_name = descriptor.full_name
    files = FileDescriptorSet()
    seen: set[str] = set()
    _add_file(files, descriptor.file, seen)
    schema.message.file_descriptor_set = files.SerializeToString(deterministic=True)


def _add_file(files: FileDescriptorSet, file: FileDescriptor, seen: set[str]) -> None:
    """Adds a file after its imports; google/protobuf's own are known everywhere."""
    if file.name in seen or file.name.startswith("google/protobuf/"):
        return
    seen.add(file.name)
    for imported in file.dependencies:
        _add_file(files, imported, seen)
    file.CopyToProto(files.file.add())
