"""How what waits for a host becomes frames."""

import pytest

from muster.model import limits
from muster.model.errors import MusterError
from muster.v1.payload_pb2 import Payload
from muster.v1.session_pb2 import Assignment, Report
from tests.unit.executor.world import World, held, key, refused, spec


@pytest.fixture
def world() -> World:
    return World()


def sized(number: int, size: int, agent: str = "a") -> Assignment:
    return Assignment(key=key(number), agent=agent, payload=Payload(json="x" * size))


def test_a_frame_closes_at_256_items(world):
    session = world.connect(agents=[spec("a", 1000)])
    world.read(session)
    world.assign(session, *[key(number) for number in range(600)])
    frames = world.frames(session)
    assert [len(frame.assignments) for frame in frames] == [256, 256, 88]
    assert [frame.frame_seq for frame in frames] == [2, 3, 4]


def test_a_frame_closes_at_64_kib(world):
    session = world.connect(agents=[spec("a", 100)])
    world.read(session)
    world.say(session, assignments=[sized(number, 20_000) for number in range(7)])
    frames = world.frames(session)
    assert [len(frame.assignments) for frame in frames] == [3, 3, 1]
    assert all(frame.ByteSize() <= limits.FRAME_BYTES_MAX for frame in frames)


def test_a_larger_item_travels_alone(world):
    session = world.connect(agents=[spec("a", 100)])
    world.read(session)
    world.say(session, assignments=[sized(1, 10), sized(2, 100_000), sized(3, 10)])
    frames = world.frames(session)
    assert [[x.key for x in frame.assignments] for frame in frames] == [
        [key(1)],
        [key(2)],
        [key(3)],
    ]


def test_acknowledgements_go_before_assignments(world):
    session = world.connect(agents=[spec("a", 1000)])
    world.assign(session, *[key(number) for number in range(300)])
    world.read(session)
    world.report(session, *[key(number) for number in range(300)])
    world.say(session, assignments=[sized(400 + number, 60_000) for number in range(3)])
    for number in range(300):
        world.acknowledge(session, key(number))
    first, second, *_ = world.frames(session)
    assert len(first.report_acks) == 256
    assert not first.assignments
    assert len(second.report_acks) == 44
    assert len(second.assignments) == 1


def test_agents_take_turns(world):
    session = world.connect(agents=[spec("a"), spec("b"), spec("c")])
    world.read(session)
    world.assign(session, key(1), key(2), key(3), agent="a")
    world.assign(session, key(4), agent="b")
    world.assign(session, key(5), key(6), agent="c")
    assert [x.agent for x in world.read(session).assignments] == list("abcaca")


def test_a_frame_says_which_of_the_hosts_frames_was_processed(world):
    session = world.connect()
    world.read(session)
    world.send(session)
    world.send(session)
    world.assign(session, key(1))
    assert world.read(session).seen_seq == 3


def test_a_host_that_takes_nothing_is_cut_off_but_its_session_lives(world, monkeypatch):
    monkeypatch.setattr(limits, "SESSION_OUTBOX_ITEMS_MAX", 100)
    session = world.connect(agents=[spec("a", 1000)])
    world.assign(session, *[key(number) for number in range(101)])
    assert session.outbox.end is not None
    assert session.outbox.end[0] == "QUEUE_FULL"
    assert world.has(session)


def test_an_empty_outbox_makes_no_frame(world):
    session = world.connect()
    world.read(session)
    assert world.frames(session) == []


def test_a_frame_of_ordinary_items_has_a_bound(world):
    session = world.connect()
    reports = [Report(key=key(n), payload=Payload(json="x" * 60_000)) for n in range(20)]
    with pytest.raises(MusterError) as caught:
        world.send(session, reports=reports)
    assert refused(caught.value) == ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")
    with pytest.raises(MusterError) as caught:
        world.connect(reports=reports)
    assert refused(caught.value) == ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")
    assert world.has(session)


def test_a_heartbeat_may_be_as_large_as_it_is(world):
    session = world.connect()
    world.beat(session, *[held(key(number)) for number in range(40_000)])
    assert len(session.suspects) + len(world.read(session).verdicts) > 0


def test_every_count_is_back_at_nothing_when_everything_was_read(world):
    session = world.connect(agents=[spec("a", 10), spec("b", 10)])
    for number in range(10):
        world.assign(session, key(number), agent="ab"[number % 2])
    world.cancel(session, key(3))
    world.cancel(session, key(4))
    world.read(session)
    assert session.outbox.count == 0
    assert not session.outbox.ring
    assert len(session.leases) == 8
