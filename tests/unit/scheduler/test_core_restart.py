"""Leases that outlive a restart of the scheduler or of an executor."""

from __future__ import annotations

import pytest

from muster.model import limits
from muster.model.ledger import StoredAttempt, StoredContract, StoredQuestion
from muster.model.states import ContractState, Outcome
from muster.scheduler.core_sessions import Held
from muster.scheduler.records import Asked, Contract
from tests.unit.scheduler.worlds import World

EPOCH = 7


def restored(*numbers: int) -> tuple[World, list[Contract]]:
    """A scheduler that has just started, with contracts that run at agent a1 of host h1."""
    world = World(generation=2)
    contracts = [restore(world, number) for number in numbers]
    world.sessions.restored(world.now, list(world.core.contracts.values()))
    return world, contracts


def restore(
    world: World,
    number: int,
    attempt: StoredAttempt | None = None,
    *questions: StoredQuestion,
    asked: Asked | None = None,
) -> Contract:
    now = world.now
    attempt = attempt or StoredAttempt(
        EPOCH, "a1", "kind", "h1", now.wall_ms, now.wall_ms, Outcome.OPEN, 0, "", b""
    )
    names = ("default", "local", f"r{number}", b"body", "echo", "")
    stored = StoredContract(
        number,
        *names,
        0,
        number,
        0,
        "",
        now.wall_ms,
        now.wall_ms + 9**9,
        b"",
        (attempt,),
        None,
        questions,
    )
    contract = Contract(
        *("default", "local", f"r{number}", b"body", "echo", "1", 2, "local"),
        deadline_ms=stored.deadline_ms,
        schedule_to_start=0.0,
        start_to_close=600.0,
        heartbeat=0.0,
        body=None,
        body_bytes=b"",
        asked=asked,
    )
    return world.sessions.restore(now, stored, contract, (0, 0))


def test_a_host_that_is_back_keeps_what_it_holds_and_loses_the_rest_at_once() -> None:
    world, (kept, lost) = restored(1, 2)
    world.host(window=2, held=[Held(kept.id, EPOCH, "a1", 2)])
    assert kept.lease is not None
    assert kept.lease.session_id == "s1"
    assert lost.state is ContractState.QUEUED
    assert lost.losses == 1


def test_a_contract_that_was_parked_waits_on_after_a_restart() -> None:
    world = World(generation=2)
    now = world.now
    attempt = StoredAttempt(
        EPOCH, "a1", "kind", "h1", now.wall_ms, now.wall_ms, Outcome.PARKED, now.wall_ms, "", b""
    )
    question = StoredQuestion(1, "q", "default", EPOCH, now.wall_ms, 0, "", "", b"")
    due = now.mono + 5
    asked = Asked("q", EPOCH, "a1", now.wall_ms, now.wall_ms + 5000, due, None, "q?", 10)
    contract = restore(world, 1, attempt, question, asked=asked)
    assert (contract.state, contract.sequence) == (ContractState.PARKED, 4)
    world.host(agents=["a2", "a1"])
    assert world.plan() == []
    world.attempts.report(now, "s1", 1, EPOCH, "report")
    assert world.verdicts() == ["ACCEPTED_DUPLICATE"]
    world.answer(contract)
    [(_, lease)] = world.plan()
    assert (lease.agent, lease.attempt) == ("a1", 2)
    assert lease.epoch > EPOCH


def test_the_deadline_of_a_question_goes_on_over_a_restart() -> None:
    world = World(generation=2)
    now = world.now
    attempt = StoredAttempt(
        EPOCH, "a1", "kind", "h1", now.wall_ms, now.wall_ms, Outcome.PARKED, now.wall_ms, "", b""
    )
    question = StoredQuestion(1, "q", "default", EPOCH, now.wall_ms, 0, "", "", b"")
    asked = Asked("q", EPOCH, "a1", 0, now.wall_ms - 1000, now.mono - 1, None, "q?", 10)
    restore(world, 1, attempt, question, asked=asked)
    world.pass_time(0.6)
    assert [end.code for end in world.ends()] == ["INPUT_TIMEOUT"]


def test_another_host_that_is_back_loses_nothing_of_ours() -> None:
    world, (contract,) = restored(1)
    world.host(name="h2", agents=["a2"])
    world.pass_time(limits.LEASE_SECONDS - 0.1)
    assert contract.lease is not None
    world.pass_time(0.2)
    assert contract.state is ContractState.QUEUED


@pytest.mark.parametrize("gone", [True, False])
def test_through_a_new_executor_a_host_keeps_what_it_holds_and_loses_the_rest(gone: bool) -> None:
    world = World()
    world.host(window=2)
    kept, other = world.submit("r1"), world.submit("r2")
    leases = dict(world.plan())
    for contract, lease in leases.items():
        world.start(contract, lease)
    if gone:
        world.sessions.link_gone(world.now, world.core.fleet.hosts["s1"].link)
    world.host("s2", window=2, held=[Held(kept.id, leases[kept].epoch, "a1", 2)])
    assert leases[kept].session_id == "s2"
    # Whose executor is there is told by it when the old session is over.
    assert other.state is (ContractState.QUEUED if gone else ContractState.RUNNING)
    assert ("s1" in world.core.fleet.hosts) is not gone
