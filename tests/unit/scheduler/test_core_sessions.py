"""Hosts that come, go and come back."""

from __future__ import annotations

from muster.model import limits
from muster.model.states import ContractState
from muster.scheduler.core_sessions import Held
from muster.scheduler.effects import Detach
from tests.unit.scheduler.worlds import World


def test_a_host_that_comes_back_keeps_what_it_holds() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.host("s2", held=[Held(contract.id, lease.epoch, "a1", 2)])
    world.sessions.end(world.now, "s1", "superseded")
    assert contract.lease is lease
    assert lease.session_id == "s2"
    assert world.report(contract, lease) == "ACCEPTED"


def test_a_lease_that_the_ledger_does_not_know_is_dropped() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.host("s2", ["a2"], name="h2", held=[Held(contract.id, lease.epoch, "a2", 2)])
    assert contract.lease is lease
    assert lease.session_id == "s1"


def test_hosts_of_a_broken_link_get_a_lease_to_appear_elsewhere() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.sessions.link_gone(world.now, world.core.fleet.hosts["s1"].link)
    world.pass_time(limits.LEASE_SECONDS - 1)
    assert contract.lease is lease
    world.pass_time(1.5)
    assert contract.state is ContractState.QUEUED


def test_our_own_stall_is_not_held_against_anybody() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.sessions.link_gone(world.now, world.core.fleet.hosts["s1"].link)
    world.seconds += 30.0
    world.sessions.tick(world.now, 29.5)
    assert contract.lease is lease


def test_work_waits_while_no_link_leads_to_the_host() -> None:
    world = World()
    world.host()
    world.sessions.link_gone(world.now, world.core.fleet.hosts["s1"].link)
    contract = world.submit()
    assert world.plan() == []
    assert contract.state is ContractState.QUEUED


def test_a_draining_agent_gets_nothing_new() -> None:
    world = World()
    world.host(agents=["a1", "a2"])
    world.sessions.drain("s1", "a1")
    world.submit("r1")
    world.submit("r2")
    assert [lease.agent for _, lease in world.plan()] == ["a2"]


def test_a_hosts_older_session_takes_nothing_from_its_newer_one_whichever_is_told_first() -> None:
    world = World()
    world.host("newer", ["a1"], epoch=20)
    # An executor that stood still tells of a session whose host is long gone.
    world.host("older", ["a1"], epoch=10)
    assert told_to_go(world) == []
    world.submit()
    [(_, lease)] = world.plan()
    assert lease.session_id == "newer"
    world.sessions.end(world.now, "older", "its host is gone")
    world.host("newest", ["a1"], epoch=30)
    assert world.core.fleet.hosts["newest"].older_id == "newer"


def test_a_session_that_seemed_older_gets_work_when_the_other_one_has_ended() -> None:
    world = World()
    world.host("ahead", ["a1"], epoch=20)
    world.host("alive", ["a1"], epoch=10)  # its executor's clock is behind
    world.sessions.lend("alive", "a1", 2)
    world.sessions.end(world.now, "ahead", "its host is gone")
    for number in range(3):
        world.submit(f"r{number}")
    assert [lease.session_id for _, lease in world.plan()] == ["alive", "alive"]


def test_of_two_hosts_of_one_name_one_has_to_go_when_both_stay() -> None:
    world = World()
    world.host("newer", ["a1"], epoch=20)
    world.host("older", ["a1"], epoch=10)
    world.pass_time(1.0)
    assert told_to_go(world) == []
    world.pass_time(2 * limits.LEASE_SECONDS + 1)
    assert told_to_go(world) == [("older", "a1")]


def told_to_go(world: World) -> list[tuple[str, str]]:
    found = [x for x in [*world.log, *world.core.effects] if isinstance(x, Detach)]
    return [(each.session_id, each.agent) for each in found]


def test_the_newest_agent_of_a_name_wins() -> None:
    world = World()
    world.host("s1", ["a1"])
    world.host("s2", ["a1"], name="h2")
    world.submit()
    [(_, lease)] = world.plan()
    assert lease.session_id == "s2"


def test_a_slot_that_stopped_while_the_link_was_gone_is_free_again() -> None:
    world = World()
    world.host()
    contract = world.submit()
    world.plan()
    world.core.cancel(world.now, contract.id, "default", "")
    world.sessions.link_gone(world.now, world.core.fleet.hosts["s1"].link)
    world.submit("next")
    world.host()
    assert len(world.plan()) == 1


def test_a_return_that_crosses_a_cancel_frees_the_slot() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.core.cancel(world.now, contract.id, "default", "")
    world.submit("next")
    assert world.plan() == []
    world.attempts.give_back(world.now, "s1", contract.id, lease.epoch)
    assert len(world.plan()) == 1


def test_what_runs_alone_goes_on_alone_when_its_host_comes_back() -> None:
    world = World()
    contract = world.submit("poison")
    for number in range(limits.SOLO_AFTER_LOSSES):
        world.host(f"s{number}", window=2)
        [(_, lease)] = world.plan()
        world.start(contract, lease)
        world.sessions.end(world.now, f"s{number}", "killed")
    world.host("before", window=2)
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.host("after", window=2, held=[Held(contract.id, lease.epoch, "a1", 2)])
    world.sessions.end(world.now, "before", "superseded")
    bystander = world.submit("bystander")
    assert world.plan() == []
    assert world.report(contract, lease) == "ACCEPTED"
    assert [each for each, _ in world.plan()] == [bystander]


def test_what_a_host_has_by_now_counts_no_more_as_offered() -> None:
    world = World()
    world.host("before", window=2)
    contract = world.submit(size=limits.HOST_OFFERED_BYTES_MAX)
    [(_, lease)] = world.plan()
    world.host("after", window=2, held=[Held(contract.id, lease.epoch, "a1", 1)])
    world.sessions.end(world.now, "before", "superseded")
    assert world.core.fleet.hosts["after"].offered_bytes == 0
    world.submit("next")
    assert len(world.plan()) == 1
    world.report(contract, lease)
    assert world.core.fleet.hosts["after"].offered_bytes == 0
