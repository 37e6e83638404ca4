"""Hosts that live and do not hear: what is sent to them does not arrive."""

import pytest

from muster.executor.core_state import Session
from tests.unit.executor.world import World, held, key


@pytest.fixture
def world() -> World:
    return World()


def deaf(world: World, frame_seq: int = 1) -> Session:
    """A session of a host that holds one attempt, did not hear of another, and says that it
    lives."""
    session = world.connect(frame_seq=frame_seq)
    world.assign(session, key(1))
    world.read(session)
    counted = None if frame_seq else 0
    world.send(session, starts=[key(1)], frame_seq=counted)
    world.assign(session, key(2))
    heard = session.out_seq
    world.read(session)
    world.relayed()
    for _ in range(4):
        world.wait(1.0)
        world.beat(session, held(key(1)), seen_seq=heard if frame_seq else 0, frame_seq=counted)
    return session


def test_who_did_not_hear_of_an_assignment_gets_nothing_new(world):
    session = deaf(world)
    items = world.items(session)
    assert list(items.losses) == [key(2)]
    assert list(items.drains) == ["a"]
    world.assign(session, key(3))
    assert [given.key for given in world.items(session).returns] == [key(3)]


def test_what_it_holds_goes_on_and_its_report_counts(world):
    session = deaf(world)
    world.relayed()
    world.report(session, key(1))
    assert [report.key for report in world.items(session).reports] == [key(1)]


def test_who_hears_again_gets_what_is_new(world):
    session = deaf(world)
    world.relayed()
    world.beat(session, held(key(1)))  # it has seen our frames
    items = world.items(session)
    assert [each.name for each in items.attaches] == ["a"]
    assert not items.drains
    world.assign(session, key(3))
    assert [each.key for each in world.read(session).assignments][-1:] == [key(3)]
    assert not world.items(session).returns


def test_who_closes_and_opens_between_two_frames_of_the_link_is_open(world):
    session = deaf(world)
    world.beat(session, held(key(1)))
    items = world.items(session)
    assert [each.name for each in items.attaches] == ["a"]
    assert not items.drains


def test_a_host_that_does_not_count_hears_when_it_answers_to_the_cancel(world):
    session = deaf(world, frame_seq=0)
    assert list(world.items(session).drains) == ["a"]
    world.send(session, stops=[{"key": key(2)}], frame_seq=0)
    assert [each.name for each in world.items(session).attaches] == ["a"]


def test_who_has_heard_and_does_not_accept_is_not_deaf(world):
    session = world.connect()
    world.assign(session, key(1))
    world.read(session)
    for _ in range(4):
        world.wait(1.0)
        world.beat(session)
    items = world.items(session)
    assert list(items.losses) == [key(1)]
    assert not items.drains


def test_who_hears_nothing_for_a_lease_is_cut_off(world):
    session = deaf(world)
    ends = [session.outbox.end]
    for _ in range(11):
        world.wait(1.0)
        world.beat(session, held(key(1)), seen_seq=session.seen_seq)
    ends.append(session.outbox.end)
    assert [end and end[0] for end in ends] == [None, "NOT_READY"]
    assert world.has(session)  # it has the grace to come back


def test_the_next_link_hears_who_is_deaf(world):
    session = deaf(world)
    world.hang_up()
    world.dial()
    assert list(world.items(session).drains) == ["a"]


def test_an_agent_that_is_attached_meanwhile_is_closed_too(world):
    session = deaf(world)
    world.relayed()
    world.send(
        session,
        seen_seq=session.seen_seq,
        attaches=[{"spec": {"name": "b", "max_in_flight": 1}}],
    )
    assert list(world.items(session).drains) == ["b"]
    world.assign(session, key(3), agent="b")
    assert [given.key for given in world.items(session).returns] == [key(3)]
