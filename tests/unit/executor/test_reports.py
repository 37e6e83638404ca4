"""Reports and stream items: relayed, kept until they are acknowledged, refused one by one."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from muster.executor.core_state import Session
from muster.model import limits
from muster.v1.budget_pb2 import Usage
from muster.v1.payload_pb2 import Binary, Payload
from muster.v1.question_pb2 import Question
from muster.v1.response_pb2 import Failure
from muster.v1.session_pb2 import REPORT_VERDICT_REFUSED, AttemptKey, Report
from tests.unit.executor.world import World, key, pair, spec


@pytest.fixture
def world() -> World:
    return World()


def running(world: World, *attempts: AttemptKey, **hello: Any) -> Session:
    session = world.connect(**hello)
    world.assign(session, *attempts)
    world.read(session)
    world.send(session, accepts=attempts)
    world.relayed()
    return session


def log(index: int, number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "contract_id": key(number).contract_id,
        "epoch": 1,
        "index": index,
        "log": {"message": "hello"},
        **fields,
    }


def test_a_report_is_relayed_and_its_acknowledgement_comes_back(world):
    session = running(world, key(1))
    world.send(session, reports=[Report(key=key(1), payload=Payload(json="1"))])
    assert list(world.items(session).reports) == [Report(key=key(1), payload=Payload(json="1"))]
    world.acknowledge(session, key(1))
    (ack,) = world.read(session).report_acks
    assert (ack.key, ack.verdict) == (key(1), 1)
    assert not session.leases
    assert not session.unacked


def test_a_report_frees_the_slot_before_it_is_acknowledged(world):
    session = running(world, key(1), agents=[spec("a", 1)])
    world.report(session, key(1))
    world.assign(session, key(2))
    assert [x.key for x in world.read(session).assignments] == [key(2)]


def test_a_refused_report_leaves_the_attempt_with_its_host(world):
    session = running(world, key(1), agents=[spec("a", 1)])
    world.report(session, key(1))
    world.acknowledge(session, key(1), REPORT_VERDICT_REFUSED)
    world.assign(session, key(2))
    assert [given.key for given in world.items(session).returns] == [key(2)]
    world.report(session, key(1))
    assert [report.key for report in world.items(session).reports] == [key(1)]


def test_a_report_that_is_sent_again_is_relayed_again(world):
    session = running(world, key(1))
    world.report(session, key(1))
    world.items(session)
    world.acknowledge(session, key(1))
    world.report(session, key(1))
    assert [report.key for report in world.items(session).reports] == [key(1)]
    world.acknowledge(session, key(1), 2)
    assert [ack.verdict for ack in world.read(session).report_acks] == [1, 2]


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(), 3),
        (Report(key=AttemptKey(contract_id="x", epoch=1)), 3),
        (Report(key=AttemptKey(contract_id=key(1).contract_id)), 3),
        (Report(key=key(1), failure=Failure(code="not a code")), 3),
        (Report(key=key(1), failure=Failure(message="x" * 9000)), 3),
        (Report(key=key(1), payload=Payload(json="x" * 70_000)), 3),
        (Report(key=key(1), payload=Payload(binary=Binary(data=b"x" * 70_000))), 3),
        (Report(key=key(1), usage=Usage(model="x" * 200)), 3),
        (Report(key=key(1), usage=Usage(cpu_time=Duration(seconds=-1))), 3),
        (Report(key=key(1), question=Question(text="may I?")), 3),
    ],
    ids=lambda value: str(value)[:40].replace("\n", " "),
)
def test_a_bad_report_is_refused_by_id_and_the_others_pass(world, report, code):
    session = running(world, key(1), key(2))
    world.read(session)
    world.send(session, reports=[report, Report(key=key(2))])
    assert [x.key for x in world.items(session).reports] == [key(2)]
    (ack,) = world.read(session).report_acks
    assert (ack.verdict, ack.error.code) == (REPORT_VERDICT_REFUSED, code)


@pytest.mark.parametrize(
    "report",
    [
        Report(key=key(1)),
        Report(key=key(1), payload=Payload()),
        Report(key=key(1), payload=Payload(json="é" * 30_000)),
        Report(key=key(1), failure=Failure(code="AGENT_ERROR", message="no")),
        Report(key=key(1), payload=Payload(binary=Binary(data=b"x" * 60_000))),
        Report(key=key(1), usage=Usage(input_tokens=5, cpu_time=Duration(seconds=1))),
    ],
    ids=lambda value: str(value)[:60].replace("\n", " "),
)
def test_a_good_report_of_any_kind_passes(world, report):
    session = running(world, key(1))
    world.send(session, reports=[report])
    assert list(world.items(session).reports) == [report]


def test_reports_for_what_the_session_does_not_hold_are_bounded(world, monkeypatch):
    monkeypatch.setattr(limits, "SESSION_UNACKED_REPORTS_MAX", 2)
    session = world.connect()
    world.read(session)
    world.report(session, key(1), key(2), key(3))
    assert [report.key for report in world.items(session).reports] == [key(1), key(2)]
    (ack,) = world.read(session).report_acks
    assert (ack.key, ack.verdict, ack.error.code) == (key(3), REPORT_VERDICT_REFUSED, 8)


# --- stream items ---------------------------------------------------------------------------------


def test_stream_items_are_relayed_and_kept_until_they_are_acknowledged(world):
    session = running(world, key(1))
    world.send(session, items=[log(1), log(2), log(3)])
    assert [item.index for item in world.items(session).items] == [1, 2, 3]
    world.acknowledge_items(session, key(1), 2)
    lease = session.leases[pair(key(1))]
    assert [index for index, _, _ in lease.items or ()] == [3]
    (ack,) = world.read(session).item_acks
    assert (ack.key, ack.index) == (key(1), 2)


def test_only_an_agent_that_overruns_its_window_has_items_refused(world):
    session = running(world, key(1))
    world.read(session)
    world.send(session, items=[log(index) for index in range(1, 66)])
    assert len(world.items(session).items) == 64
    (refusal,) = world.read(session).refusals
    assert (refusal.field, refusal.error.code) == ("items", 8)
    world.acknowledge_items(session, key(1), 64)
    world.send(session, items=[log(65)])
    assert len(world.items(session).items) == 1


def test_the_window_counts_bytes_as_well(world):
    session = running(world, key(1))
    world.read(session)
    chunk = {"chunk": 0, "payload": {"json": "x" * 60_000}}
    items = [log(index, output=chunk) for index in range(1, 7)]
    for item in items:
        del item["log"]
    world.send(session, items=items)
    assert len(world.items(session).items) == 4
    assert [refusal.error.code for refusal in world.read(session).refusals] == [8, 8]


def test_an_item_that_is_sent_again_is_relayed_and_takes_no_more_room(world):
    session = running(world, key(1))
    world.send(session, items=[log(1), log(2)])
    world.send(session, items=[log(1), log(2)])
    assert len(world.items(session).items) == 4
    assert len(session.leases[pair(key(1))].items or ()) == 2


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (log(0), 3),
        (log(1, log={"level": 99}), 3),
        (log(1, log={"message": "x" * 9000}), 3),
        ({**log(1), "log": None}, 3),
        ({**log(1), "log": None, "progress": {"fraction": 2.0}}, 3),
        ({**log(1), "log": None, "progress": {"fraction": float("nan")}}, 3),
        ({**log(1), "log": None, "output": {"chunk": 0}}, 3),
        (log(1, number=9), 10),
        (log(1, epoch=2), 10),
        (log(1, contract_id="../x"), 3),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_item_is_refused_by_id_and_the_others_pass(world, item, code):
    session = running(world, key(1))
    world.read(session)
    item = {name: value for name, value in item.items() if value is not None}
    world.send(session, items=[item, log(5)])
    assert [x.index for x in world.items(session).items] == [5]
    (refusal,) = world.read(session).refusals
    assert (refusal.field, refusal.error.code) == ("items", code)
