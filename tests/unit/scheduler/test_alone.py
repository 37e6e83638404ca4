"""Contracts that lost two agents run alone in a host, and hold nothing up for ever."""

from __future__ import annotations

from muster.model import limits
from muster.scheduler.core_sessions import HELD_SUSPENDED, Held
from muster.scheduler.placing import RESERVED_SECONDS
from muster.scheduler.records import Contract
from tests.unit.scheduler.worlds import World


def poison(world: World) -> Contract:
    """A contract that has lost so many agents that it is to run alone; hosts come and go for it."""
    contract = world.submit("poison")
    for number in range(limits.SOLO_AFTER_LOSSES):
        world.host(f"lost{number}", [f"lost{number}"], name=f"lost{number}")
        [(leased, lease)] = world.plan()
        assert leased is contract
        world.start(contract, lease)
        world.sessions.end(world.now, f"lost{number}", "killed")
    return contract


def poison_beside(world: World, busy: Contract) -> Contract:
    """The same, while another host has something to do."""
    assert busy.lease is not None
    host = world.core.fleet.hosts[busy.lease.session_id]
    host.draining = True
    contract = poison(world)
    host.draining = False
    return contract


def test_a_host_is_reserved_and_what_runs_there_is_waited_for() -> None:
    world = World()
    world.host(window=2)
    busy = world.submit("busy")
    [(_, lease)] = world.plan()
    alone = poison_beside(world, busy)
    world.plan()
    late = world.submit("late")
    assert world.plan() == []
    world.report(busy, lease)
    [(leased, alones)] = world.plan()
    assert leased is alone
    world.report(alone, alones)
    assert [leased for leased, _ in world.plan()] == [late]


def test_a_host_is_not_reserved_for_what_is_not_wanted_any_more() -> None:
    world = World()
    world.host(window=2)
    busy = world.submit("busy")
    world.plan()
    alone = poison_beside(world, busy)
    world.plan()
    world.core.cancel(world.now, alone.id, "default", "")
    late = world.submit("late")
    assert [leased for leased, _ in world.plan()] == [late]


def test_what_waits_for_children_there_is_no_reason_to_wait() -> None:
    world = World()
    world.host(window=2)
    parent = world.submit("parent")
    [(_, lease)] = world.plan()
    world.start(parent, lease)
    alone = poison_beside(world, parent)
    child = world.child(parent)
    assert world.plan() == []
    # Until here it might be done soon. Now it waits for its child, which has no other host.
    world.attempts.suspend(world.now, "s1", parent.id, lease.epoch)
    [(leased, alones)] = world.plan()
    assert leased is alone
    world.report(alone, alones)
    assert [leased for leased, _ in world.plan()] == [child]


def test_while_it_waits_for_its_own_children_others_come() -> None:
    world = World()
    alone = poison(world)
    world.host()
    [(_, lease)] = world.plan()
    world.start(alone, lease)
    child = world.child(alone)
    assert world.plan() == []
    world.attempts.suspend(world.now, "s1", alone.id, lease.epoch)
    [(leased, childs)] = world.plan()
    assert leased is child
    world.report(child, childs)
    world.attempts.resume(world.now, "s1", alone.id, lease.epoch)
    assert world.report(alone, lease) == "ACCEPTED"
    assert not world.core.contracts


def test_where_it_waits_for_children_after_its_host_came_back_others_come_too() -> None:
    world = World()
    alone = poison(world)
    world.host("before")
    [(_, lease)] = world.plan()
    world.start(alone, lease)
    world.attempts.suspend(world.now, "before", alone.id, lease.epoch)
    world.host("after", held=[Held(alone.id, lease.epoch, "a1", HELD_SUSPENDED)])
    world.sessions.end(world.now, "before", "superseded")
    child = world.child(alone)
    assert [leased for leased, _ in world.plan()] == [child]


def test_a_host_that_does_not_become_idle_is_given_up_for_a_while() -> None:
    world = World()
    world.host(window=2)
    bare = world.submit("bare")  # waits for its child, and does not say so
    [(_, lease)] = world.plan()
    world.start(bare, lease)
    alone = poison_beside(world, bare)
    child = world.child(bare)
    assert world.plan() == []
    world.pass_time(RESERVED_SECONDS)
    [(leased, childs)] = world.plan()
    assert leased is child
    world.report(child, childs)
    world.report(bare, lease)
    [(leased, _)] = world.plan()
    assert leased is alone


def test_it_is_reserved_again_after_that() -> None:
    world = World()
    world.host(window=2)
    busy = world.submit("busy")
    [(_, lease)] = world.plan()
    world.start(busy, lease)
    alone = poison_beside(world, busy)
    world.plan()
    world.pass_time(RESERVED_SECONDS)
    other = world.submit("other")
    [(leased, others)] = world.plan()
    assert leased is other
    world.pass_time(RESERVED_SECONDS)
    world.submit("late")
    assert world.plan() == []
    world.report(busy, lease)
    world.report(other, others)
    assert [leased for leased, _ in world.plan()] == [alone]


def test_it_expires_where_no_host_is_ever_idle() -> None:
    world = World()
    world.host(window=2)
    busy = world.submit("busy", start_to_close=0.0)
    [(_, lease)] = world.plan()
    world.start(busy, lease)
    alone = poison_beside(world, busy)
    world.plan()
    world.pass_time(3_600.0 + 1.0)
    world.plan()
    assert alone in [end.contract for end in world.ends()]
