"""What is on the bus: CloudEvents whose data is exactly the event that watchers get."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from muster.backends.bus_base import Message
from muster.model.ledger import LifecycleEvent
from muster.model.states import ContractState, EventType
from muster.model.subjects import matches
from muster.scheduler.cloud_events import gap_message, message_of
from muster.scheduler.messages_out import event_of
from muster.v1.event_pb2 import Event, Gap

ids = st.integers(1, 2**63 - 1)
events = st.builds(
    LifecycleEvent,
    ids,
    st.sampled_from(["default", "a_b-c"]),
    st.integers(1, 2**32 - 1),
    st.sampled_from(EventType),
    st.sampled_from(ContractState),
    st.integers(0, 4_102_444_800_000),
    st.sampled_from(["echo", "report.write"]),
    st.integers(1, 2**53 - 1),
    st.text(min_size=1),
    st.text(),
    st.text(),
    ids,
    st.text(),
)


def read(message: Message) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(message.body)
    assert event["specversion"] == "1.0"
    assert event["id"] == message.id
    assert event["datacontenttype"] == "application/json"
    assert datetime.fromisoformat(str(event["time"])).tzinfo is not None
    return event


@given(events)
def test_the_data_is_the_event_as_protobuf_writes_it(event: LifecycleEvent) -> None:
    meant = event_of(event)
    found = read(message_of(event))
    assert json_format.ParseDict(found["data"], Event()) == meant
    written = json_format.MessageToDict(meant)
    data = found["data"]
    assert isinstance(data, dict)
    assert {key: value for key, value in data.items() if value} == written


def test_an_event_of_no_attempt_names_none() -> None:
    event = LifecycleEvent(
        0x17, "acme", 1, EventType.ACCEPTED, ContractState.QUEUED, 1500, "echo", 0, "", "", "",
        0x17, "",
    )  # fmt: skip
    message = message_of(event)
    assert message.subject == "muster.acme.contract.accepted.echo"
    assert message.id == "0000000000000017-1"
    assert read(message) == {
        "specversion": "1.0",
        "id": "0000000000000017-1",
        "source": "/tenants/acme",
        "type": "dev.muster.v1.contract.accepted",
        "subject": "0000000000000017",
        "time": "1970-01-01T00:00:01.500Z",
        "datacontenttype": "application/json",
        "data": {
            "contractId": "0000000000000017",
            "sequence": 1,
            "type": "EVENT_TYPE_ACCEPTED",
            "state": "CONTRACT_STATE_QUEUED",
            "time": "1970-01-01T00:00:01.500Z",
            "capability": "echo",
            "rootId": "0000000000000017",
        },
    }


def test_a_gap_says_in_every_shard_from_where_on_events_are_there() -> None:
    message = gap_message("acme", {3: 70, 40: 9}, 1000)
    assert matches("muster.acme.gap", message.subject)
    found = read(message)
    assert found["type"] == "dev.muster.v1.gap"
    gap = json_format.ParseDict(found["data"], Gap())
    assert dict(gap.resume_at.positions) == {3: 70, 40: 9}
    assert gap_message("acme", {3: 71, 40: 9}, 1000).id != message.id
