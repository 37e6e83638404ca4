"""Delegation: trees of contracts, and what ends with what."""

from __future__ import annotations

import pytest

from muster.model import limits
from muster.model.errors import (
    FailedPrecondition,
    Fenced,
    NotFound,
    ResourceExhausted,
)
from muster.model.retry import RetryPolicy
from muster.model.states import ContractState
from tests.unit.scheduler.worlds import World


def test_cancel_ends_a_tree_to_its_leaves_in_one_step() -> None:
    world = World()
    world.host(agents=["a1", "a2"])
    root = world.submit()
    world.plan()
    child = world.child(root, "c")
    world.plan()
    grandchild = world.child(child, "g")
    world.core.cancel(world.now, root.id, "default", "enough")
    ends = {end.contract.id: end.code for end in world.ends()}
    assert ends == {root.id: "CANCELLED", child.id: "PARENT_ENDED", grandchild.id: "PARENT_ENDED"}
    assert not world.core.contracts


def test_an_abandoned_child_outlives_its_parent() -> None:
    world = World()
    world.host()
    root = world.submit()
    [(_, lease)] = world.plan()
    child = world.child(root, abandoned_on_close=True)
    world.report(root, lease)
    assert child.id in world.core.contracts
    assert [contract for contract, _ in world.plan()] == [child]


def test_cancelling_what_is_unknown_or_ended_says_so() -> None:
    world = World()
    world.host()
    contract = world.submit()
    with pytest.raises(NotFound):
        world.core.cancel(world.now, contract.id, "other-tenant", "")
    [(_, lease)] = world.plan()
    world.report(contract, lease)
    with pytest.raises(FailedPrecondition):
        world.core.cancel(world.now, contract.id, "default", "")


def test_a_cancelled_attempts_late_report_is_fenced_and_frees_its_slot() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.core.cancel(world.now, contract.id, "default", "")
    world.submit("next")
    assert world.plan() == []
    assert world.report(contract, lease) == "FENCED"
    assert len(world.plan()) == 1


def test_an_unkeyed_child_ends_with_the_attempt_that_made_it_and_a_keyed_one_stays() -> None:
    world = World()
    world.host()
    root = world.submit(retry=RetryPolicy(initial_seconds=60.0))
    [(_, lease)] = world.plan()
    keyed, unkeyed = world.child(root, "k"), world.child(root, "u", keyed=False)
    world.fail(root, lease)
    assert keyed.id in world.core.contracts
    assert [end.contract for end in world.ends()] == [unkeyed]


def test_a_child_of_a_stale_attempt_is_refused() -> None:
    world = World()
    world.host()
    root = world.submit()
    [(_, lease)] = world.plan()
    world.start(root, lease)
    world.sessions.end(world.now, "s1", "gone")
    with pytest.raises(Fenced):
        world.submit("late", parent_id=root.id, parent_epoch=lease.epoch)


def test_a_tree_has_a_depth_limit() -> None:
    world = World()
    world.host(agents=[f"a{n}" for n in range(limits.TREE_DEPTH_MAX + 2)])
    contract = world.submit()
    for _ in range(limits.TREE_DEPTH_MAX):
        world.plan()
        contract = world.child(contract)
    world.plan()
    with pytest.raises(ResourceExhausted):
        world.child(contract)


def test_one_agent_with_window_one_that_delegates_to_itself_finishes() -> None:
    world = World()
    world.host()
    contract = world.submit()
    stack = []
    for depth in range(limits.TREE_DEPTH_MAX + 1):
        [(leased, lease)] = world.plan()
        assert leased is contract
        world.start(contract, lease)
        stack.append((contract, lease))
        if depth < limits.TREE_DEPTH_MAX:
            contract = world.child(contract)
            world.attempts.suspend(world.now, "s1", leased.id, lease.epoch)
    while stack:
        done, lease = stack.pop()
        assert world.report(done, lease) == "ACCEPTED"
        if stack:
            parent, held = stack[-1]
            world.attempts.resume(world.now, "s1", parent.id, held.epoch)
    assert {end.state for end in world.ends()} == {ContractState.SUCCEEDED}
    assert not world.core.contracts
