"""What becomes of an assignment between a scheduler and a host."""

from typing import Any

import pytest

from muster.executor.core_state import Session
from muster.v1.payload_pb2 import Payload
from muster.v1.session_pb2 import Assignment, AttemptKey, Return, Stopped
from tests.unit.executor.world import World, held, key, pair, spec


@pytest.fixture
def world() -> World:
    return World()


def test_an_assignment_reaches_its_host_in_the_next_frame(world):
    session = world.connect()
    world.read(session)
    world.assign(session, key(1), key(2))
    (frame,) = world.frames(session)
    assert [assignment.key for assignment in frame.assignments] == [key(1), key(2)]


def test_what_would_exceed_the_window_is_given_back(world):
    session = world.connect(agents=[spec("a", 2)])
    world.assign(session, key(1), key(2), key(3))
    assert [given.key for given in world.items(session).returns] == [key(3)]
    assert [x.key for x in world.read(session).assignments] == [key(1), key(2)]


def test_a_window_of_zero_means_one(world):
    session = world.connect(agents=[spec("a", 0)])
    world.assign(session, key(1), key(2))
    assert [given.key for given in world.items(session).returns] == [key(2)]


def test_an_assignment_for_nobody_is_given_back(world):
    session = world.connect()
    world.assign(session, key(1), agent="nobody")
    assert [given.key for given in world.items(session).returns] == [key(1)]


def test_an_assignment_that_comes_twice_is_one(world):
    session = world.connect()
    world.assign(session, key(1))
    world.assign(session, key(1))
    assert len(world.read(session).assignments) == 1
    assert session.agents["a"].active == 1


def test_an_assignment_larger_than_the_hosts_frames_is_given_back(world):
    session = world.connect(hello={"frame_bytes_max": 65536})
    large = Assignment(key=key(1), agent="a", payload=Payload(json="x" * 70_000))
    world.say(session, assignments=[large])
    assert [given.key for given in world.items(session).returns] == [key(1)]


# --- acceptance -----------------------------------------------------------------------------------


def test_what_is_not_accepted_in_time_is_taken_back(world):
    session = world.connect()
    world.assign(session, key(1))
    world.read(session)
    world.wait(3.5)
    assert list(world.items(session).losses) == [key(1)]
    assert [(cancel.key, cancel.code) for cancel in world.read(session).cancels] == [
        (key(1), "NOT_ACCEPTED")
    ]
    assert session.agents["a"].active == 0


def test_what_was_never_written_is_taken_back_without_a_word_to_the_host(world):
    session = world.connect()
    world.assign(session, key(1))
    world.wait(3.5)
    assert list(world.items(session).losses) == [key(1)]
    frame = world.read(session)
    assert not frame.cancels
    assert not frame.assignments


@pytest.mark.parametrize(
    "words",
    [
        {"accepts": [key(1)]},
        {"starts": [key(1)]},
        {"suspends": [key(1)]},
        {"items": [{"contract_id": key(1).contract_id, "epoch": 1, "index": 1, "log": {}}]},
        {"heartbeat": {"held": [held(key(1), 1)]}},
    ],
    ids=lambda words: next(iter(words)),
)
def test_whatever_shows_that_the_host_has_it_is_acceptance(world, words):
    session = world.connect()
    world.assign(session, key(1))
    world.read(session)
    world.wait(2.0)
    world.send(session, **words)
    world.wait(2.0)
    assert pair(key(1)) in session.leases
    assert not world.items(session).losses


def test_acceptance_is_start_for_a_host_that_does_not_say_started(world):
    session = world.connect()
    world.assign(session, key(1), key(2))
    world.read(session)
    world.send(session, accepts=[key(1)])
    world.beat(session, held(key(1)), held(key(2), 1))
    items = world.items(session)
    assert list(items.starts) == [key(1), key(2)]
    assert not items.accepts


def test_a_host_that_says_started_is_taken_by_its_word(world):
    session = world.connect(hello={"reports_start": True})
    world.assign(session, key(1), key(2))
    world.read(session)
    world.send(session, accepts=[key(1)])
    world.beat(session, held(key(1), 1), held(key(2), 2))
    items = world.items(session)
    assert list(items.accepts) == [key(1)]
    assert list(items.starts) == [key(2)]
    world.send(session, starts=[key(1)])
    assert list(world.items(session).starts) == [key(1)]


def test_what_the_session_does_not_hold_is_refused_by_id(world):
    session = world.connect()
    world.read(session)
    world.send(
        session,
        accepts=[key(1)],
        starts=[key(2)],
        suspends=[key(3)],
        resumes=[key(4)],
        returns=[Return(key=key(5))],
    )
    refusals = world.read(session).refusals
    assert [refusal.field for refusal in refusals] == [
        "accepts",
        "starts",
        "suspends",
        "resumes",
        "returns",
    ]
    assert {refusal.error.code for refusal in refusals} == {10}


def test_a_malformed_id_is_refused_as_such(world):
    session = world.connect()
    world.read(session)
    world.send(session, accepts=[{"contract_id": "x" * 10_000, "epoch": 1}, {"epoch": 1}])
    refusals = world.read(session).refusals
    assert [refusal.error.code for refusal in refusals] == [3, 3]
    assert len(refusals[0].key.contract_id) <= 64


# --- heartbeats -----------------------------------------------------------------------------------


def accepted(world: World, *attempts: AttemptKey, **hello: Any) -> Session:
    session = world.connect(**hello)
    world.assign(session, *attempts)
    world.read(session)
    world.send(session, accepts=attempts)
    world.relayed()
    return session


def test_a_lease_missing_from_a_heartbeat_that_saw_it_is_lost(world):
    session = accepted(world, key(1), key(2))
    world.beat(session, held(key(1)))
    assert list(world.items(session).losses) == [key(2)]
    assert list(session.leases) == [pair(key(1))]


def test_a_lease_missing_from_a_heartbeat_that_crossed_it_is_not_lost(world):
    session = world.connect()
    world.read(session)
    world.assign(session, key(1))
    seen = session.out_seq
    world.read(session)
    world.beat(session, seen_seq=seen)
    assert not world.items(session).losses
    assert session.leases


def test_a_lease_that_is_not_written_yet_cannot_be_missed(world):
    session = world.connect()
    world.read(session)
    world.assign(session, key(1))
    world.beat(session, seen_seq=10_000)
    assert not world.items(session).losses
    assert session.leases


def test_a_host_that_does_not_count_frames_loses_nothing_by_leaving_it_out(world):
    session = accepted(world, key(1), frame_seq=0)
    world.beat(session, frame_seq=0)
    assert not world.items(session).losses


def test_a_claimed_lease_missing_from_the_next_heartbeat_is_lost(world):
    session = world.connect(held=[held(key(1)), held(key(2))])
    world.relayed()
    world.beat(session, held(key(2)))
    assert list(world.items(session).losses) == [key(1)]


def test_a_reported_lease_is_never_missed_while_its_report_is_on_its_way(world):
    session = accepted(world, key(1))
    world.report(session, key(1))
    world.beat(session)
    items = world.items(session)
    assert len(items.reports) == 1
    assert not items.losses


def test_a_strange_lease_in_a_heartbeat_is_dropped(world):
    session = world.connect()
    world.read(session)
    world.beat(session, held(key(7)))
    assert [(x.key, x.decision) for x in world.read(session).verdicts] == [(key(7), 2)]


def test_a_lease_whose_acknowledgement_crossed_the_heartbeat_is_not_dropped_at_once(world):
    session = accepted(world, key(1))
    world.report(session, key(1))
    world.acknowledge(session, key(1))
    world.beat(session, held(key(1), 4))
    assert not world.read(session).verdicts
    world.beat(session, held(key(1), 4))
    assert [x.key for x in world.read(session).verdicts] == [key(1)]


# --- slots ----------------------------------------------------------------------------------------


def test_a_suspended_attempt_frees_its_slot_and_resuming_needs_none(world):
    session = world.connect(agents=[spec("a", 1)])
    world.assign(session, key(1))
    world.read(session)
    world.send(session, suspends=[key(1)])
    world.assign(session, key(2))
    world.send(session, resumes=[key(1)])
    assert session.agents["a"].active == 2
    world.assign(session, key(3))
    items = world.items(session)
    assert [given.key for given in items.returns] == [key(3)]


def test_of_a_suspension_and_its_end_in_one_link_frame_the_last_word_counts(world):
    session = accepted(world, key(1), key(2))
    world.send(session, suspends=[key(1)])
    world.send(session, resumes=[key(1)])
    world.send(session, suspends=[key(2), key(1)])
    world.send(session, resumes=[key(2)])
    items = world.items(session)
    assert list(items.suspends) == [key(1)]
    assert list(items.resumes) == [key(2)]


def test_a_returned_attempt_frees_its_slot(world):
    session = world.connect(agents=[spec("a", 1)])
    world.assign(session, key(1))
    world.read(session)
    world.send(session, returns=[Return(key=key(1), reason="busy")])
    assert [(given.key, given.reason) for given in world.items(session).returns] == [
        (key(1), "busy")
    ]
    world.assign(session, key(2))
    assert [x.key for x in world.read(session).assignments] == [key(2)]


def test_the_window_can_be_changed_while_attempts_run(world):
    session = accepted(world, key(1), key(2))
    world.send(session, attaches=[{"spec": spec("a", 2)}])
    world.assign(session, key(3))
    items = world.items(session)
    assert [agent.max_in_flight for agent in items.attaches] == [2]
    assert [given.key for given in items.returns] == [key(3)]


def test_a_detached_agent_keeps_what_it_holds_and_gets_nothing_new(world):
    session = accepted(world, key(1))
    world.send(session, detaches=[{"name": "a"}])
    world.assign(session, key(2))
    world.report(session, key(1))
    items = world.items(session)
    assert list(items.detaches) == ["a"]
    assert [given.key for given in items.returns] == [key(2)]
    assert [report.key for report in items.reports] == [key(1)]
    world.acknowledge(session, key(1))
    assert not session.agents


# --- cancels --------------------------------------------------------------------------------------


def test_a_cancelled_attempt_keeps_its_slot_until_its_host_has_stopped(world):
    session = accepted(world, key(1), agents=[spec("a", 1)])
    world.cancel(session, key(1))
    assert [cancel.key for cancel in world.read(session).cancels] == [key(1)]
    world.assign(session, key(2))
    assert [given.key for given in world.items(session).returns] == [key(2)]
    world.send(session, stops=[Stopped(key=key(1))])
    assert [stop.key for stop in world.items(session).stops] == [key(1)]
    world.assign(session, key(3))
    assert [x.key for x in world.read(session).assignments] == [key(3)]


def test_a_cancel_overtakes_an_assignment_that_is_not_written_yet(world):
    session = world.connect()
    world.assign(session, key(1))
    world.cancel(session, key(1))
    frame = world.read(session)
    assert not frame.assignments
    assert not frame.cancels
    assert [stop.key for stop in world.items(session).stops] == [key(1)]


def test_an_assignment_that_is_cancelled_in_its_own_frame_is_never_handed_out(world):
    session = world.connect()
    world.say(
        session,
        assignments=[{"key": key(1), "agent": "a"}],
        cancels=[{"key": key(1), "code": "CANCELLED"}],
    )
    assert not world.read(session).assignments
    assert [stop.key for stop in world.items(session).stops] == [key(1)]


def test_a_cancel_of_what_was_given_back_meanwhile_frees_its_slot(world):
    session = world.connect(agents=[spec("a", 1)])
    world.assign(session, key(1), key(2))
    assert [given.key for given in world.items(session).returns] == [key(2)]
    world.cancel(session, key(2))
    assert [stop.key for stop in world.items(session).stops] == [key(2)]


def test_a_cancelled_attempt_that_a_heartbeat_no_longer_names_has_stopped(world):
    session = accepted(world, key(1), frame_seq=0)
    world.beat(session, held(key(1)), frame_seq=0)
    world.cancel(session, key(1))
    world.beat(session, held(key(1)), frame_seq=0)
    assert session.leases
    world.beat(session, frame_seq=0)
    items = world.items(session)
    assert [stop.key for stop in items.stops] == [key(1)]
    assert not items.losses


def test_a_cancelled_attempt_that_nobody_ever_accepted_stops_by_itself(world):
    session = world.connect()
    world.assign(session, key(1))
    world.read(session)
    world.cancel(session, key(1))
    world.wait(3.5)
    items = world.items(session)
    assert [stop.key for stop in items.stops] == [key(1)]
    assert not items.losses


def test_nothing_that_a_cancelled_attempt_still_does_is_relayed_but_its_report(world):
    session = accepted(world, key(1))
    world.cancel(session, key(1))
    item = {"contract_id": key(1).contract_id, "epoch": 1, "index": 1, "log": {"message": "x"}}
    world.send(session, items=[item], suspends=[key(1)])
    world.report(session, key(1))
    items = world.items(session)
    assert not items.items
    assert not items.suspends
    assert [report.key for report in items.reports] == [key(1)]


def test_a_stop_that_nobody_asked_for_is_a_loss(world):
    session = accepted(world, key(1))
    world.send(session, stops=[Stopped(key=key(1))])
    items = world.items(session)
    assert list(items.losses) == [key(1)]
    assert not items.stops


def test_a_stop_of_what_the_judge_took_back_is_no_error(world):
    session = world.connect()
    world.assign(session, key(1))
    world.read(session)
    world.wait(3.5)
    world.send(session, stops=[Stopped(key=key(1))])
    assert not world.read(session).refusals
