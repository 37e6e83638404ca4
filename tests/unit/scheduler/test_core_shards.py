"""Shards come to a scheduler and leave it, with everything that is open in them."""

import pytest

from muster.model.errors import Unavailable
from muster.model.ids import EpochMaker, IdMaker, shard_of_id, shard_of_scope
from muster.model.limits import SHARDS
from muster.model.states import ContractState
from muster.scheduler.core_sessions import HELD_ACCEPTED, Held
from muster.scheduler.effects import Acknowledge, Decide, LookUpReport
from muster.scheduler.records import Contract
from tests.unit.scheduler.worlds import World

HELD_STARTED = 2


def shard(contract: Contract) -> int:
    return shard_of_id(contract.id)


def test_a_contract_belongs_to_the_shard_of_its_scope_and_its_children_too():
    world = World()
    world.host(window=10)
    root = world.submit("r1")
    world.plan()
    assert shard(root) == shard_of_scope("default", "local", "r1")
    child = world.child(root)
    assert shard(child) == shard(root)


def test_what_belongs_to_another_scheduler_is_not_taken():
    world = World()
    world.core.disown(range(SHARDS))
    with pytest.raises(Unavailable):
        world.submit("r1")
    assert not world.core.contracts
    assert not world.core.take_effects()


def test_contracts_of_a_shard_that_left_are_gone_without_a_word():
    world = World()
    world.host(window=100)
    contracts = [world.submit(f"r{number}") for number in range(40)]
    world.plan()
    leaving = shard(contracts[0])
    gone = world.core.disown([leaving])
    assert gone == [contract for contract in contracts if shard(contract) == leaving]
    assert not world.core.take_effects()
    assert leaving not in {shard(contract) for contract in world.core.contracts.values()}
    (host,) = world.core.fleet.hosts.values()
    assert host.active == len(host.leases) == len(world.core.contracts)


def test_reports_on_them_get_no_answer_for_their_new_owner_will_give_it():
    world = World()
    world.host()
    contract = world.submit("r1")
    world.plan()
    assert contract.lease is not None
    epoch = contract.lease.epoch
    world.core.disown(range(SHARDS))
    world.core.take_effects()
    world.attempts.report(world.now, "s1", contract.id, epoch, object())
    effects = world.core.take_effects()
    assert not [each for each in effects if isinstance(each, Acknowledge | LookUpReport)]


def test_attempts_that_went_on_are_not_written_down_by_a_former_owner():
    world = World()
    world.host()
    contract = world.submit("r1")
    world.plan()
    assert contract.lease is not None
    world.attempts.start(world.now, "s1", contract.id, contract.lease.epoch)
    world.core.disown(range(SHARDS))
    world.core.take_effects()
    world.seconds += 3600
    world.attempts.tick(world.now)
    world.sessions.tick(world.now, 0)
    assert not world.core.take_effects()


def test_leases_of_shards_taken_over_are_claimed_and_others_stay():
    world = World()
    world.host(window=10)
    mine = world.submit("mine")
    world.plan()
    assert mine.lease is not None
    world.core.take_effects()
    # What another scheduler had leased to the same host comes with its shard, as after a restart.
    other = World(generation=3)
    other.host(window=10)
    taken = other.submit("taken")
    other.plan()
    lease = taken.lease
    assert lease is not None
    lease.session_id, lease.slots = "", None
    world.core.keep(taken)
    world.sessions._orphans.setdefault(("default", "h1"), {})[taken.id] = taken
    held = Held(taken.id, lease.epoch, "a1", HELD_STARTED)
    world.sessions.claim_more(world.now, "s1", [held])
    decisions = [each for each in world.core.take_effects() if isinstance(each, Decide)]
    assert [(each.contract_id, each.keep) for each in decisions] == [(taken.id, True)]
    assert taken.state is ContractState.RUNNING
    assert mine.lease is not None
    assert mine.lease.session_id == "s1"
    world.seconds += 11
    world.sessions.tick(world.now, 0)
    assert taken.lease is lease, "a lease that was claimed waits for nobody"


def test_a_claim_for_somebody_elses_contract_gets_no_verdict():
    world = World()
    world.host()
    stranger = IdMaker().make(5, 1_800_000_000_000)
    world.core.disown([5])
    world.core.take_effects()
    world.sessions.claim_more(world.now, "s1", [Held(stranger, 7, "a1", HELD_ACCEPTED)])
    assert not world.core.take_effects()


def test_epochs_and_ids_grow_past_those_of_the_owner_before():
    world = World(generation=1)
    world.host(window=10)
    before = world.submit("r1")
    world.plan()
    assert before.lease is not None
    last = max(before.id, IdMaker().make(shard(before), 1_900_000_000_000))
    world.core.disown([shard(before)])
    world.core.own({shard(before): EpochMaker(2)}, last)
    world.core.take_effects()
    after = world.submit("r1")
    assert after.id > last
    ((_, lease),) = world.plan()
    assert lease.epoch > before.lease.epoch
