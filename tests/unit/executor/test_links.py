"""What survives when a link ends, and what a new one is told first."""

from typing import Any

import pytest
from google.rpc.status_pb2 import Status

from muster.executor.core_state import Session
from muster.model import limits
from muster.runtime.principal import Principal
from muster.v1.executor_service_pb2 import ConnectRequest
from muster.v1.link_service_pb2 import LinkRequest
from muster.v1.payload_pb2 import Payload
from muster.v1.session_pb2 import AttachResult, AttemptKey, Hello, Report, Stopped
from tests.unit.executor.world import World, held, key, pair, run, spec


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


def relink(world: World) -> list[LinkRequest]:
    world.hang_up()
    world.dial()
    return world.relayed()


def test_a_new_link_is_told_every_session_with_its_agents_and_leases():
    world = World(linked=False)
    first = world.connect("one", agents=[spec("a"), spec("b")])
    second = world.connect("two", agents=[spec("c")], held=[held(key(1), 3, "c")])
    world.dial()
    (frame,) = world.relayed()
    assert [told.session_id for told in frame.sessions] == [first.id, second.id]
    assert [agent.name for agent in frame.sessions[0].agents] == ["a", "b"]
    assert list(frame.sessions[1].held) == [held(key(1), 3, "c")]


def test_claims_are_pending_at_once_while_no_scheduler_is_there():
    world = World(linked=False)
    session = world.connect(held=[held(key(1))])
    assert [(x.key, x.decision) for x in world.read(session).verdicts] == [(key(1), 3)]
    world.dial()
    world.relayed()
    world.decide(session, key(1), 1)
    assert [(x.key, x.decision) for x in world.read(session).verdicts] == [(key(1), 1)]


def test_claims_wait_for_the_verdict_of_a_scheduler_that_is_there(world):
    session = world.connect(held=[held(key(1)), held(key(2))])
    assert not world.read(session).verdicts
    world.decide(session, key(1), 1)
    world.decide(session, key(2), 2)
    assert [(x.key, x.decision) for x in world.read(session).verdicts] == [
        (key(1), 1),
        (key(2), 2),
    ]
    assert list(session.leases) == [pair(key(1))]


def test_a_host_is_not_told_again_what_it_knows(world):
    session = running(world, key(1))
    relink(world)
    world.decide(session, key(1), 1)
    world.say(session, attach_results=[AttachResult(agent="a")])
    world.say(session, attach_results=[AttachResult(agent="a")])
    frame = world.read(session)
    assert not frame.verdicts
    assert len(frame.attach_results) == 1


def test_an_offered_assignment_is_part_of_the_level_as_long_as_nobody_took_it_back(world):
    session = world.connect()
    world.assign(session, key(1))
    (frame,) = relink(world)
    assert list(frame.sessions[0].held) == [held(key(1), 1)]
    world.wait(3.5)
    (frame,) = relink(world)
    assert not frame.sessions[0].held


def test_unacknowledged_reports_are_relayed_again_on_the_next_link(world):
    session = running(world, key(1), key(2))
    world.report(session, key(1))
    world.items(session)
    world.hang_up()
    world.report(session, key(2))
    assert not world.relayed()
    world.dial()
    (frame,) = world.relayed()
    assert {x.key.contract_id: x.state for x in frame.sessions[0].held} == {
        key(1).contract_id: 4,
        key(2).contract_id: 4,
    }
    assert [report.key for report in frame.items[0].reports] == [key(1), key(2)]
    world.acknowledge(session, key(1))
    (frame,) = relink(world)
    assert [report.key for report in frame.items[0].reports] == [key(2)]


def test_unacknowledged_stream_items_are_relayed_again_on_the_next_link(world):
    session = running(world, key(1))
    item = {"contract_id": key(1).contract_id, "epoch": 1, "log": {"message": "x"}}
    world.send(session, items=[{**item, "index": index} for index in (1, 2, 3)])
    world.relayed()
    world.acknowledge_items(session, key(1), 1)
    (frame,) = relink(world)
    assert [x.index for x in frame.items[0].items] == [2, 3]
    assert frame.sessions[0].held[0].items_acked == 1


def test_a_session_that_ended_while_the_link_was_down_is_not_part_of_the_level(world):
    session = world.connect()
    world.hang_up()
    world.broken(session)
    world.wait(3.5)
    world.dial()
    assert world.relayed() == []


def test_a_drop_ends_a_lease_at_the_host_and_frees_its_slot_whatever_cancelled_it(world):
    session = running(world, key(1), key(2))
    world.cancel(session, key(1))
    relink(world)
    world.decide(session, key(1), 2)
    world.decide(session, key(2), 2)
    assert [(x.key, x.decision) for x in world.read(session).verdicts] == [
        (key(1), 2),
        (key(2), 2),
    ]
    assert not session.leases
    assert [stop.key for stop in world.items(session).stops] == [key(1), key(2)]


def test_a_draining_agent_is_told_as_such_to_a_new_link(world):
    session = world.connect()
    world.core.sessions.drain_agent("default", "a")
    (frame,) = relink(world)
    assert not frame.sessions[0].draining
    assert list(frame.items[0].drains) == ["a"]
    world.send(session, leaving=True)
    (frame,) = relink(world)
    assert frame.sessions[0].draining


def test_items_of_a_session_never_come_before_it(world):
    session = world.connect(heartbeat={"held": []}, leaving=True)
    world.send(session, reports=[Report(key=key(1))])
    (frame,) = world.relayed()
    assert [told.session_id for told in frame.sessions] == [session.id]
    assert [items.session_id for items in frame.items] == [session.id]


def test_a_session_that_begins_and_ends_before_the_link_writes_leaves_only_its_end(world):
    session = world.connect()
    world.send(session, reports=[Report(key=key(1))])
    world.core.book.end(session, "gone")
    (frame,) = world.relayed()
    assert not frame.sessions
    assert not frame.items
    assert [(end.session_id, end.reason) for end in frame.ends] == [(session.id, "gone")]


def test_what_a_session_said_before_it_was_judged_is_relayed_before_its_end(world):
    session = running(world, key(1))
    world.report(session, key(1))
    world.core.book.end(session, "gone")
    (frame,) = world.relayed()
    assert [report.key for report in frame.items[0].reports] == [key(1)]
    assert [end.session_id for end in frame.ends] == [session.id]


def test_of_attach_and_detach_in_one_link_frame_the_last_word_counts(world):
    session = world.connect()
    world.relayed()
    world.send(session, attaches=[{"spec": spec("b")}], detaches=[{"name": "a"}])
    world.send(session, attaches=[{"spec": spec("a", 7)}], detaches=[{"name": "b"}])
    items = world.items(session)
    assert [(agent.name, agent.max_in_flight) for agent in items.attaches] == [("a", 7)]
    assert list(items.detaches) == ["b"]


def test_an_agent_that_the_scheduler_refuses_is_off_the_session(world):
    session = world.connect(agents=[spec("a"), spec("b")])
    world.read(session)
    error = Status(code=6, message="other schemas")
    world.say(session, attach_results=[AttachResult(agent="a", error=error)])
    (result,) = world.read(session).attach_results
    assert (result.agent, result.error.code) == ("a", 6)
    assert list(session.agents) == ["b"]
    (frame,) = relink(world)
    assert [agent.name for agent in frame.sessions[0].agents] == ["b"]


def test_too_many_specs_for_a_first_frame_follow_as_attaches(world, monkeypatch):
    monkeypatch.setattr(limits, "LINK_LEVEL_SPECS_BYTES_MAX", 20)
    session = world.connect(agents=[spec(f"agent-{number}") for number in range(6)])
    world.assign(session, key(1), agent="agent-5")
    frames = relink(world)
    first = [agent.name for agent in frames[0].sessions[0].agents]
    later = [agent.name for frame in frames for x in frame.items for agent in x.attaches]
    assert "agent-5" in first
    assert sorted(first + later) == [f"agent-{number}" for number in range(6)]


def test_what_is_relayed_again_comes_in_frames_that_are_not_large(world, monkeypatch):
    session = running(world, *[key(number) for number in range(4)])
    for number in range(4):
        report = Report(key=key(number), payload=Payload(json="x" * 900))
        world.send(session, reports=[report])
    monkeypatch.setattr(limits, "LINK_FRAME_BYTES_MAX", 2000)
    frames = relink(world)
    assert [len(told.held) for frame in frames for told in frame.sessions] == [4]
    assert [len(x.reports) for frame in frames for x in frame.items] == [2, 2]


def test_the_specs_of_a_sessions_agents_are_bounded(world, monkeypatch):
    monkeypatch.setattr(limits, "SESSION_SPECS_BYTES_MAX", 20)
    session = world.connect(agents=[spec("a" * 12), spec("b" * 12)])
    (result,) = world.read(session).attach_results
    assert (result.agent, result.error.code) == ("b" * 12, 8)
    world.send(session, detaches=[{"name": "a" * 12}])
    world.send(session, attaches=[{"spec": spec("b" * 12)}])
    assert list(session.agents) == ["b" * 12]


def test_a_session_in_its_grace_is_told_as_draining(world):
    session = world.connect()
    world.broken(session)
    (frame,) = relink(world)
    assert frame.sessions[0].draining


def test_a_claim_made_while_a_link_came_up_is_told_to_it():
    world = World(linked=False)
    hello = Hello(
        protocol_version=1,
        host="h",
        agents=[spec(f"a{n}") for n in range(100)],
        held=[held(key(1))],
    )
    greeting = world.greeter.greet(Principal(), ConnectRequest(hello=hello))
    greeting.send(None)
    world.dial()
    world.relayed()
    run(greeting)
    (frame,) = world.relayed()
    assert [lease.key for lease in frame.sessions[0].held] == [key(1)]


def test_a_link_frame_closes_when_it_is_large(world, monkeypatch):
    monkeypatch.setattr(limits, "LINK_FRAME_BYTES_MAX", 2000)
    session = running(world, *[key(number) for number in range(4)])
    for number in range(4):
        report = Report(key=key(number), payload=Payload(json="x" * 900))
        world.send(session, reports=[report])
    frames = world.relayed()
    assert [len(frame.items[0].reports) for frame in frames] == [2, 2]


def test_a_host_that_says_much_while_no_link_is_up_is_asked_to_come_back(world, monkeypatch):
    monkeypatch.setattr(limits, "SESSION_PARKED_BYTES_MAX", 1000)
    session = running(world, key(1))
    world.hang_up()
    world.send(session, reports=[Report(key=key(1), payload=Payload(json="x" * 1200))])
    assert session.outbox.end is not None
    assert session.outbox.end[0] == "NOT_READY"
    assert world.has(session)


def test_a_stop_is_heard_although_the_cancel_was_of_another_link(world):
    session = running(world, key(1))
    world.cancel(session, key(1))
    relink(world)
    world.send(session, stops=[Stopped(key=key(1))])
    assert [stop.key for stop in world.items(session).stops] == [key(1)]
