"""Lifecycle events as CloudEvents 1.0 in structured JSON, for the bus.

Structured, so that a message is complete wherever it goes: also to clients that show no headers, to
files and webhooks. Binary mode, with attributes as headers, was rejected for that.

    {"specversion": "1.0", "id": "<contract id>-<sequence>", "source": "/tenants/<tenant>",
     "type": "dev.muster.v1.contract.ended", "subject": "<contract id>", "time": "…",
     "datacontenttype": "application/json", "data": {a muster.v1.Event in protobuf's JSON}}

The JSON is put together by hand: protobuf's own takes ten times as long, and there is one for every
event. A test holds the two together.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from muster.backends.bus_base import Message
from muster.model.ids import format_id
from muster.model.ledger import LifecycleEvent
from muster.model.states import ContractState, EventType
from muster.model.subjects import CONTRACT, GAP, contract_subject, gap_subject

_TYPE = "dev.muster.v1."
_EVENT_TYPES = {each: f"EVENT_TYPE_{each.name}" for each in EventType}
_STATES = {each: f"CONTRACT_STATE_{each.name}" for each in ContractState}
_NAMES = {each: f"{_TYPE}{CONTRACT}.{each.name.lower()}" for each in EventType}
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def message_of(event: LifecycleEvent) -> Message:
    """A lifecycle event, ready to be published."""
    contract_id = format_id(event.contract_id)
    data: dict[str, Any] = {
        "contractId": contract_id,
        "sequence": event.sequence,
        "type": _EVENT_TYPES[event.type],
        "state": _STATES[event.state],
        "time": _instant(event.time_ms),
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
    body = _body(number, event.tenant, _NAMES[event.type], contract_id, event.time_ms, data)
    return Message(contract_subject(event.tenant, event.type, event.capability), number, body)


def gap_message(tenant: str, positions: Mapping[int, int], now_ms: int) -> Message:
    """Says that events up to these positions, by shard, were trimmed before they were published.

    Its data is a muster.v1.Gap; what is missing of a contract is in the ledger all the same.
    """
    newest = max(positions.items(), key=lambda each: each[1])
    number = f"gap-{tenant}-{newest[0]}-{newest[1]}"
    where = {str(shard): str(position) for shard, position in sorted(positions.items())}
    data = {"resumeAt": {"positions": where}}
    body = _body(number, tenant, _TYPE + GAP, "", now_ms, data)
    return Message(gap_subject(tenant), number, body)


def _body(
    number: str, tenant: str, type_: str, subject: str, time_ms: int, data: Mapping[str, Any]
) -> bytes:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": number,
        "source": f"/tenants/{tenant}",
        "type": type_,
        "time": _instant(time_ms),
        "datacontenttype": "application/json",
        "data": data,
    }
    if subject:
        event["subject"] = subject
    return _write(event).encode()


def _instant(time_ms: int) -> str:
    seconds, rest = divmod(time_ms, 1000)
    return f"{_second(seconds)}.{rest:03}Z" if rest else f"{_second(seconds)}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
