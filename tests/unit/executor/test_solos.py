"""An attempt that is to be alone in its host, with contracts of several schedulers around it."""

import pytest

from muster.executor.core_state import LinkOutbox, Session
from muster.executor.link_frames import apply_response
from muster.v1.link_pb2 import SessionItems
from muster.v1.link_service_pb2 import LinkResponse
from muster.v1.session_pb2 import Assignment, AttemptKey, CancelAttempt, Report, ReportAck
from tests.unit.executor.test_lending import Shared
from tests.unit.executor.world import pair

ACCEPT_SECONDS = 60.0


@pytest.fixture
def world() -> Shared:
    return Shared()


def assign_solo(world: Shared, link: LinkOutbox, session: Session, shard: int) -> AttemptKey:
    attempt = world.attempt(shard)
    items = SessionItems(
        session_id=session.id,
        assignments=[Assignment(key=attempt, agent="wide")],
        solos=[attempt],
    )
    apply_response(world.core, link, LinkResponse(items=[items]), world.now)
    return attempt


def finish(world: Shared, link: LinkOutbox, session: Session, attempt: AttemptKey) -> None:
    world.send(session, reports=[Report(key=attempt)])
    ack = ReportAck(key=attempt, verdict=1)  # type: ignore[arg-type]
    items = SessionItems(session_id=session.id, report_acks=[ack])
    apply_response(world.core, link, LinkResponse(items=[items]), world.now)


def handed_out(world: Shared, session: Session) -> list[AttemptKey]:
    return [each.key for each in world.read(session).assignments]


def given_back(world: Shared, link: LinkOutbox) -> list[AttemptKey]:
    return [x.key for frame in world.told(link) for items in frame.items for x in items.returns]


def test_it_waits_for_what_the_other_scheduler_has_there_and_nothing_new_comes(world: Shared):
    session = world.connect(("wide", 4))
    other = world.assign(world.b, session, "wide", 40)
    assert handed_out(world, session) == [other]
    solo = assign_solo(world, world.a, session, 1)
    assert handed_out(world, session) == []
    late = world.assign(world.b, session, "wide", 41)
    assert given_back(world, world.b) == [late]
    finish(world, world.b, session, other)
    assert handed_out(world, session) == [solo]
    late = world.assign(world.b, session, "wide", 42)
    assert given_back(world, world.b) == [late]
    finish(world, world.a, session, solo)
    free = world.assign(world.b, session, "wide", 43)
    assert handed_out(world, session) == [free]


def test_where_nothing_else_runs_it_is_handed_out_at_once(world: Shared):
    session = world.connect(("wide", 4))
    solo = assign_solo(world, world.a, session, 1)
    assert handed_out(world, session) == [solo]


def test_what_waits_for_children_is_not_waited_for(world: Shared):
    session = world.connect(("wide", 4))
    parent = world.assign(world.b, session, "wide", 40)
    assert handed_out(world, session) == [parent]
    world.send(session, accepts=[parent])
    solo = assign_solo(world, world.a, session, 1)
    assert handed_out(world, session) == []
    world.send(session, suspends=[parent])
    assert handed_out(world, session) == [solo]


def test_where_all_wait_for_children_it_is_handed_out_at_once(world: Shared):
    session = world.connect(("wide", 4))
    parent = world.assign(world.b, session, "wide", 40)
    world.read(session)
    world.send(session, accepts=[parent])
    world.send(session, suspends=[parent])
    solo = assign_solo(world, world.a, session, 1)
    assert handed_out(world, session) == [solo]


def test_while_it_waits_for_children_others_come(world: Shared):
    session = world.connect(("wide", 4))
    solo = assign_solo(world, world.a, session, 1)
    assert handed_out(world, session) == [solo]
    world.send(session, accepts=[solo])
    world.send(session, suspends=[solo])
    child = world.assign(world.a, session, "wide", 2)
    assert handed_out(world, session) == [child]
    finish(world, world.a, session, child)
    world.send(session, resumes=[solo])
    finish(world, world.a, session, solo)
    assert not session.leases


def test_when_it_is_cancelled_before_its_turn_others_come_again(world: Shared):
    session = world.connect(("wide", 4))
    other = world.assign(world.b, session, "wide", 40)
    solo = assign_solo(world, world.a, session, 1)
    cancel = SessionItems(
        session_id=session.id, cancels=[CancelAttempt(key=solo, code="CANCELLED")]
    )
    apply_response(world.core, world.a, LinkResponse(items=[cancel]), world.now)
    free = world.assign(world.b, session, "wide", 43)
    assert handed_out(world, session) == [other, free]


def test_its_time_to_be_accepted_begins_when_it_is_handed_out(world: Shared):
    session = world.connect(("wide", 4))
    session.accept_seconds = ACCEPT_SECONDS
    other = world.assign(world.b, session, "wide", 40)
    world.send(session, accepts=[other])
    solo = assign_solo(world, world.a, session, 1)
    world.read(session)
    for _ in range(4):
        wait(world, session, ACCEPT_SECONDS / 2)
    finish(world, world.b, session, other)
    assert handed_out(world, session) == [solo]
    wait(world, session, ACCEPT_SECONDS / 2)
    assert pair(solo) in session.leases
    wait(world, session, ACCEPT_SECONDS)
    wait(world, session, 1.0)
    assert pair(solo) not in session.leases


def wait(world: Shared, session: Session, seconds: float) -> None:
    """Time passes, in sweeps, for a host that is heard of."""
    until = world.now + seconds
    while world.now < until:
        world.now += 0.5
        session.contact = session.renewed = world.now
        world.core.judge.sweep(world.now)
