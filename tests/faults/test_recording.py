"""What is written down of a host's frames."""

from __future__ import annotations

from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from tests.support.history.records import Record, Released
from tests.support.recording_session import Wire


class Notes:
    """Takes records down."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    @property
    def released(self) -> list[tuple[str, int, str, str]]:
        """Contract, epoch, session and how."""
        found = (each for each in self.records if isinstance(each, Released))
        return [(each.contract_id, each.epoch, each.session, each.how) for each in found]


def welcome(session: str, *assigned: str) -> ConnectResponse:
    frame = ConnectResponse()
    frame.welcome.session_id = session
    for contract_id in assigned:
        assignment = frame.assignments.add(agent="a")
        assignment.key.contract_id, assignment.key.epoch = contract_id, 5
    return frame


def hello(*held: str) -> ConnectRequest:
    frame = ConnectRequest()
    frame.hello.host = "h"
    for contract_id in held:
        lease = frame.hello.held.add()
        lease.key.contract_id, lease.key.epoch = contract_id, 5
    return frame


def test_what_ended_without_a_session_is_gone_with_the_next_hello() -> None:
    notes = Notes()
    wire = Wire(notes)
    wire.sent(hello())
    wire.came(welcome("s1", "goes-on", "overdue"))
    wire.sent(hello("goes-on"))
    assert notes.released == [("overdue", 5, "s1", "gone")]
    wire.came(welcome("s2"))
    wire.sent(hello())
    assert notes.released[1:] == [("goes-on", 5, "s2", "gone")]
