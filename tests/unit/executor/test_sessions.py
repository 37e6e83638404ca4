"""How sessions begin, are judged, and end."""

import pytest

from muster.executor.core_state import Timers
from muster.model import limits
from muster.model.errors import MusterError
from muster.runtime.principal import Principal
from muster.v1.executor_service_pb2 import ConnectRequest
from muster.v1.session_pb2 import AttemptKey, HeldLease, Hello
from tests.unit.executor.world import WALL_MS, World, held, key, refused, run, spec


def test_a_hello_is_welcomed_at_once_in_the_first_frame():
    world = World(linked=False)
    session = world.connect(agents=[spec("a"), spec("b")])
    frame = world.frames(session)[0]
    assert (frame.frame_seq, frame.seen_seq) == (1, 1)
    welcome = frame.welcome
    assert welcome.session_id == session.id
    assert welcome.heartbeat_period.ToMilliseconds() == 2000
    assert welcome.lease_duration.ToMilliseconds() == 10_000
    assert welcome.executor == "executor-1"
    assert welcome.tenant == "default"


def test_a_scheduler_hears_of_a_session_with_its_agents_and_claims():
    world = World()
    session = world.connect(agents=[spec("a", 3), spec("b")], held=[held(key(1), agent="b")])
    (frame,) = world.relayed()
    (told,) = frame.sessions
    assert told.session_id == session.id
    assert (told.host, told.tenant, told.principal) == ("h", "default", "local")
    assert [(agent.name, agent.max_in_flight) for agent in told.agents] == [("a", 3), ("b", 4)]
    assert list(told.held) == [held(key(1), agent="b")]
    assert not frame.items


def test_the_newest_session_of_a_host_wins_and_the_older_one_ends():
    world = World()
    older = world.connect(held=[held(key(1))])
    world.relayed()
    newer = world.connect(held=[held(key(1))])
    assert not world.has(older)
    assert older.outbox.end is not None
    assert older.outbox.end[0] == "SUPERSEDED"
    assert newer.epoch > older.epoch
    (frame,) = world.relayed()
    # In this order the scheduler rebinds the lease before what is left of the older one is lost.
    assert [told.session_id for told in frame.sessions] == [newer.id]
    assert [end.session_id for end in frame.ends] == [older.id]


def test_what_an_older_session_said_is_not_relayed_once_a_newer_one_took_over():
    world = World()
    older = world.connect()
    world.assign(older, key(1))
    world.read(older)
    world.relayed()
    world.report(older, key(1))
    newer = world.connect(held=[held(key(1), 4)])
    frames = world.relayed()
    assert [items.session_id for frame in frames for items in frame.items] == []
    world.report(newer, key(1))
    assert [report.key for report in world.items(newer).reports] == [key(1)]


def test_a_host_of_another_principal_is_refused_and_changes_nothing():
    world = World()
    session = world.connect(principal=Principal("default", "alice"))
    with pytest.raises(MusterError) as caught:
        world.connect(principal=Principal("default", "mallory"))
    assert refused(caught.value) == ("PERMISSION_DENIED", "NOT_ALLOWED")
    assert world.has(session)


def test_the_same_host_name_in_two_tenants_is_two_hosts():
    world = World()
    one = world.connect(principal=Principal("one", "local"))
    two = world.connect(principal=Principal("two", "local"))
    assert world.has(one)
    assert world.has(two)


def test_a_session_epoch_grows_although_the_hosts_clock_was_ahead():
    world = World()
    session = world.connect(hello={"last_session_epoch": WALL_MS + 5000})
    assert session.epoch == WALL_MS + 5001
    assert world.connect().epoch == WALL_MS + 5002


@pytest.mark.parametrize(
    ("hello", "error"),
    [
        ({"protocol_version": 2}, ("UNIMPLEMENTED", "NOT_SERVED_YET")),
        ({"protocol_version": 0}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
        ({"host": "../etc"}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
        ({"host": ""}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
        ({"last_session_epoch": 2**64 - 1}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
        ({"frame_bytes_max": 100}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
    ],
)
def test_a_hello_that_cannot_be_served_is_refused(hello, error):
    world = World()
    fields = {"protocol_version": 1, "host": "h", **hello}
    with pytest.raises(MusterError) as caught:
        run(world.greeter.greet(Principal(), ConnectRequest(hello=Hello(**fields))))
    assert refused(caught.value) == error
    assert not world.core.book.sessions
    assert not world.relayed()


def test_one_bad_agent_in_a_hello_is_refused_by_name_and_the_others_attach():
    world = World()
    session = world.connect(agents=[spec("good"), spec("bad\n"), spec("fine")])
    (frame,) = world.relayed()
    assert [agent.name for agent in frame.sessions[0].agents] == ["good", "fine"]
    (result,) = world.read(session).attach_results
    assert result.agent == "bad\n"
    assert result.error.code == 3


def test_one_bad_claim_in_a_hello_is_refused_by_id_and_the_others_are_told():
    world = World()
    bad = HeldLease(key=AttemptKey(contract_id="../x", epoch=1), agent="a")
    session = world.connect(held=[bad, held(key(2))])
    (frame,) = world.relayed()
    assert [lease.key for lease in frame.sessions[0].held] == [key(2)]
    (refusal,) = world.read(session).refusals
    assert (refusal.field, refusal.error.code) == ("hello.held", 3)


# --- judgement ------------------------------------------------------------------------------------


def test_a_host_with_a_broken_stream_has_a_grace_to_come_back():
    world = World()
    session = world.connect()
    world.broken(session)
    world.wait(3.0)
    assert world.has(session)
    world.wait(0.5)
    assert not world.has(session)
    assert world.relayed()[-1].ends[0].session_id == session.id


def test_a_host_that_comes_back_in_the_grace_replaces_its_session():
    world = World()
    session = world.connect()
    world.broken(session)
    world.wait(2.5)
    again = world.connect()
    world.wait(5.0)
    assert not world.has(session)
    assert world.has(again)


def test_a_broken_session_gets_no_work():
    world = World()
    session = world.connect()
    world.assign(session, key(1))
    world.broken(session)
    world.assign(session, key(2))
    items = world.items(session)
    assert [given.key for given in items.returns] == [key(1), key(2)]
    assert list(items.drains) == ["a"]
    assert not session.leases


def test_a_silent_host_is_over_after_a_lease():
    world = World()
    session = world.connect()
    world.wait(10.0)
    assert world.has(session)
    world.wait(0.5)
    assert not world.has(session)
    assert session.outbox.end == ("NOT_READY", "the host was silent for a lease")


def test_any_frame_is_contact_but_only_a_heartbeat_renews_leases():
    world = World()
    session = world.connect()
    for _ in range(4):
        world.wait(5.0)
        world.send(session)
    assert world.has(session)
    world.assign(session, key(1))
    world.read(session)
    world.send(session, accepts=[key(1)])
    for _ in range(2):
        world.wait(5.0)
        world.send(session)
    world.wait(0.5)
    assert not world.has(session)


def test_a_stall_of_our_own_ends_no_session():
    world = World()
    session = world.connect()
    broken = world.connect("other")
    world.broken(broken)
    world.stall(30.0)
    assert world.has(session)
    assert world.has(broken)
    world.wait(3.5)
    assert not world.has(broken)
    world.wait(7.0)
    assert not world.has(session)


def test_a_stall_of_our_own_revokes_no_assignment():
    world = World()
    session = world.connect()
    world.assign(session, key(1))
    world.read(session)
    world.stall(30.0)
    assert session.leases
    world.beat(session, held(key(1)))
    world.wait(3.5)
    assert session.leases


def test_a_host_that_leaves_with_nothing_in_hand_is_over_at_once():
    world = World()
    session = world.connect()
    world.send(session, leaving=True)
    world.assign(session, key(1))
    assert [given.key for given in world.items(session).returns] == [key(1)]
    world.broken(session)
    assert not world.has(session)


def test_heartbeats_are_stretched_when_sessions_are_many_and_leases_with_them():
    world = World(timers=Timers(heartbeats_per_second_max=10))
    sessions = [world.connect(f"h{number}") for number in range(45)]
    world.read(sessions[0])
    world.beat(sessions[0])
    frame = world.read(sessions[0])
    assert frame.heartbeat_period.ToMilliseconds() == 4500
    assert frame.lease_duration.ToMilliseconds() == 22_500
    world.wait(20.0)
    assert world.has(sessions[0])


def test_a_shorter_lease_counts_only_from_the_heartbeat_after_its_announcement():
    world = World(timers=Timers(heartbeats_per_second_max=10))
    first, *others = [world.connect(f"h{number}") for number in range(45)]
    world.beat(first)
    assert first.lease_seconds == 22.5
    for session in others:
        world.core.book.end(session, "gone")
    world.beat(first)
    assert (first.period, first.lease_seconds) == (2.0, 22.5)
    world.beat(first)
    assert (first.period, first.lease_seconds) == (2.0, 10.0)


# --- draining -------------------------------------------------------------------------------------


def test_a_drained_host_finishes_what_it_has_and_is_over_then():
    world = World()
    session = world.connect()
    world.assign(session, key(1))
    world.read(session)
    world.core.sessions.drain_host("default", "h", 30.0, world.now)
    drain = world.read(session).drain
    assert (list(drain.agents), drain.grace.seconds) == ([], 30)
    world.assign(session, key(2))
    items = world.items(session)
    assert list(items.drains) == ["a"]
    assert [given.key for given in items.returns] == [key(2)]
    world.report(session, key(1))
    world.wait(0.5)
    assert world.has(session)
    world.acknowledge(session, key(1))
    world.wait(0.5)
    assert not world.has(session)
    assert session.outbox.end == ("", "")


def test_a_drained_host_loses_what_it_has_not_finished_when_the_grace_ends():
    world = World()
    session = world.connect()
    world.assign(session, key(1))
    world.read(session)
    world.core.sessions.drain_host("default", "h", 4.0, world.now)
    world.beat(session, held(key(1)))
    world.wait(4.0)
    assert world.has(session)
    world.wait(0.5)
    assert not world.has(session)


def test_a_drained_agent_stays_attached_and_gets_nothing_new():
    world = World()
    session = world.connect(agents=[spec("a"), spec("b")])
    world.relayed()
    world.core.sessions.drain_agent("default", "a")
    assert list(world.read(session).drain.agents) == ["a"]
    world.assign(session, key(1), agent="a")
    world.assign(session, key(2), agent="b")
    items = world.items(session)
    assert list(items.drains) == ["a"]
    assert [given.key for given in items.returns] == [key(1)]
    assert len(session.leases) == 1


@pytest.mark.parametrize(("tenant", "name"), [("default", "nobody"), ("other", "h")])
def test_draining_what_the_tenant_does_not_have_is_not_found(tenant, name):
    world = World()
    world.connect()
    with pytest.raises(MusterError) as caught:
        world.core.sessions.drain_host(tenant, name, 1.0, world.now)
    assert refused(caught.value) == ("NOT_FOUND", "HOST_UNKNOWN")
    with pytest.raises(MusterError) as caught:
        world.core.sessions.drain_agent(tenant, name)
    assert refused(caught.value) == ("NOT_FOUND", "AGENT_UNKNOWN")


def test_there_is_a_bound_to_sessions_but_not_for_a_host_that_comes_back(monkeypatch):
    monkeypatch.setattr(limits, "SESSIONS_MAX", 2)
    world = World()
    world.connect("one")
    world.connect("two")
    with pytest.raises(MusterError) as caught:
        world.connect("three")
    assert refused(caught.value) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert world.has(world.connect("two"))


def test_an_attach_is_answered_when_the_bus_has_taken_its_subscriptions():
    world = World()
    session = world.connect(agents=[spec("a")])
    agent = session.agents["a"]
    world.core.book.unsubscribed[agent] = 1
    world.core.scheduler.attach_result(world.link, session, "a", "taken", failed=False)
    assert session.outbox.attach_results == []
    del world.core.book.unsubscribed[agent]
    world.core.book.settle_attach(agent)
    assert session.outbox.attach_results == ["taken"]
