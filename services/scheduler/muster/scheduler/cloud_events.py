"""Lifecycle events as CloudEvents 1.0 in structured JSON, for the bus.

    {"specversion": "1.0", "id": "<contract id>-<sequence>", "source": "/tenants/<tenant>",
     "type": "dev.muster.v1.contract.ended", "subject": "<contract id>", "time": "…",
     "datacontenttype": "application/json", "data": {a muster.v1.Event in protobuf's JSON}}

The data is put together by hand, as `muster.wire.cloud_event` does with the rest; a test holds it
and protobuf's own JSON together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from muster.backends.bus_base import Message
from muster.model.ids import format_id
from muster.model.ledger import LifecycleEvent
from muster.model.records import RunEntry
from muster.model.states import ContractState, EventType
from muster.model.subjects import CONTRACT, GAP, contract_subject, gap_subject
from muster.scheduler.run_entries import run_message
from muster.wire.cloud_event import TYPE, cloud_event, instant

_EVENT_TYPES = {each: f"EVENT_TYPE_{each.name}" for each in EventType}
_STATES = {each: f"CONTRACT_STATE_{each.name}" for each in ContractState}
_NAMES = {each: f"{TYPE}{CONTRACT}.{each.name.lower()}" for each in EventType}


def message_of(event: LifecycleEvent | RunEntry) -> Message:
    """What has happened to a contract or a run, ready to be published."""
    if isinstance(event, RunEntry):
        return run_message(event)
    contract_id = format_id(event.contract_id)
    data: dict[str, Any] = {
        "contractId": contract_id,
        "sequence": event.sequence,
        "type": _EVENT_TYPES[event.type],
        "state": _STATES[event.state],
        "time": instant(event.time_ms),
        "capability": event.capability,
        "rootId": contract_id if event.root_id == event.contract_id else format_id(event.root_id),
    }
    if event.epoch:
        data["epoch"] = str(event.epoch)
        data["agent"] = event.agent
        data["agentKind"] = event.agent_kind
    if event.code:
        data["code"] = event.code
    if event.conversation:
        data["conversationId"] = event.conversation
    number = f"{contract_id}-{event.sequence}"
    source, name = f"/tenants/{event.tenant}", _NAMES[event.type]
    body = cloud_event(number, source, name, event.time_ms, data, subject=contract_id)
    return Message(contract_subject(event.tenant, event.type, event.capability), number, body)


def gap_message(tenant: str, positions: Mapping[int, int], now_ms: int) -> Message:
    """Says that events up to these positions, by shard, were trimmed before they were published.

    Its data is a muster.v1.Gap; what is missing of a contract is in the ledger all the same.
    """
    newest = max(positions.items(), key=lambda each: each[1])
    number = f"gap-{tenant}-{newest[0]}-{newest[1]}"
    where = {str(shard): str(position) for shard, position in sorted(positions.items())}
    data = {"resumeAt": {"positions": where}}
    body = cloud_event(number, f"/tenants/{tenant}", TYPE + GAP, now_ms, data)
    return Message(gap_subject(tenant), number, body)
