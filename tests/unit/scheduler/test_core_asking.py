"""Contracts that wait for a person, one rule at a time."""

from __future__ import annotations

from typing import Any

import pytest

from muster.model import limits
from muster.model.retry import RetryPolicy
from muster.model.states import Author, ContractState, EventType, Outcome
from muster.scheduler.core_explain import explain
from muster.scheduler.effects import Acknowledge, Answered, Change, EndAttempt
from muster.scheduler.events import events_of_change
from muster.scheduler.records import Contract, Lease
from tests.unit.scheduler.worlds import NO_RETRY, World


def parked(world: World, **changes: Any) -> tuple[Contract, Lease]:
    """A contract whose first attempt, at a1 of h1, has asked."""
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    assert world.ask(contract, lease, **changes) == "ACCEPTED"
    return contract, lease


def test_asking_parks_the_contract_and_frees_its_slot() -> None:
    world = World()
    contract, lease = parked(world)
    assert (contract.state, contract.lease) == (ContractState.PARKED, None)
    [ending] = [each for each in world.log if isinstance(each, EndAttempt)]
    assert (ending.outcome, ending.lease, ending.asked) == (Outcome.PARKED, lease, contract.asked)
    other = world.submit("r2")
    [(leased, _)] = world.plan()
    assert leased is other
    assert (contract.failures, contract.losses) == (0, 0)


def test_nothing_is_placed_while_nobody_has_answered() -> None:
    world = World()
    contract, _ = parked(world)
    world.pass_time(100.0)
    assert world.plan() == []
    assert contract.state is ContractState.PARKED
    summary, _, _ = explain(world.core, world.now, contract)
    assert "parked until somebody answers question q" in summary


def test_an_answer_queues_the_contract_with_what_was_answered() -> None:
    world = World()
    contract, first = parked(world)
    world.answer(contract)
    [answered] = [each for each in world.effects() if isinstance(each, Answered)]
    assert answered.given is (contract.answers or {})["q"]
    [(leased, second)] = world.plan()
    assert leased is contract
    assert second.epoch > first.epoch
    assert (second.attempt, contract.asked) == (2, None)
    assert world.report(contract, second) == "ACCEPTED"
    [end] = world.ends()
    assert end.state is ContractState.SUCCEEDED


def test_whoever_asked_gets_the_contract_again_if_it_is_free() -> None:
    world = World()
    world.host("s1", ["a1", "a2", "a3", "a4"])
    contract = world.submit()
    [(_, lease)] = world.plan()
    for number in range(8):
        world.ask(contract, lease, f"q{number}")
        world.answer(contract)
        [(_, again)] = world.plan()
        assert again.agent == lease.agent
        lease = again


def test_where_the_asker_is_busy_another_agent_goes_on() -> None:
    world = World()
    contract, _ = parked(world)
    world.submit("r2")
    [(_, taken)] = world.plan()
    assert taken.agent == "a1"
    world.host("s2", ["a2"], name="h2")
    world.answer(contract)
    [(leased, lease)] = world.plan()
    assert (leased, lease.agent) == (contract, "a2")


def test_an_asker_that_failed_the_contract_since_is_not_preferred() -> None:
    world = World()
    world.host("s1", ["a1", "a2"])
    contract = world.submit(retry=RetryPolicy(initial_seconds=0.0))
    [(_, lease)] = world.plan()
    world.ask(contract, lease)
    world.answer(contract)
    [(_, lease)] = world.plan()
    world.fail(contract, lease)
    [(_, other)] = world.plan()
    assert other.agent != lease.agent


def test_a_resent_question_is_a_duplicate_also_after_the_answer() -> None:
    world = World()
    contract, lease = parked(world)
    assert world.ask(contract, lease) == "ACCEPTED_DUPLICATE"
    world.answer(contract)
    assert world.ask(contract, lease) == "ACCEPTED_DUPLICATE"
    world.plan()
    assert world.ask(contract, lease) == "ACCEPTED_DUPLICATE"
    assert world.core.counts["fenced"] == 0


def test_a_question_of_a_stale_attempt_is_fenced() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, old)] = world.plan()
    world.start(contract, old)
    world.sessions.end(world.now, "s1", "killed")
    world.host("s2", ["a2"], name="h2")
    world.plan()
    assert world.ask(contract, old) == "FENCED"
    assert contract.state is ContractState.LEASED


def test_what_was_answered_is_not_asked_again() -> None:
    world = World()
    contract, _ = parked(world)
    world.answer(contract)
    [(_, lease)] = world.plan()
    assert world.ask(contract, lease) == "REFUSED"
    [refusal] = [e for e in world.log if isinstance(e, Acknowledge) and e.verdict == "REFUSED"]
    assert refusal.reason == "ALREADY_ANSWERED"
    assert contract.lease is lease
    assert world.ask(contract, lease, "another") == "ACCEPTED"


def test_a_contract_asks_only_so_many_questions() -> None:
    world = World()
    world.host()
    contract = world.submit()
    for number in range(limits.QUESTIONS_PER_CONTRACT_MAX):
        [(_, lease)] = world.plan()
        assert world.ask(contract, lease, f"q{number}") == "ACCEPTED"
        world.answer(contract)
    [(_, lease)] = world.plan()
    assert world.ask(contract, lease, "one more") == "REFUSED"
    assert world.report(contract, lease) == "ACCEPTED"


def test_a_question_commits_after_the_chunks_that_its_report_counts() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    assert world.ask(contract, lease, output_chunks=1) == "REFUSED"
    assert contract.lease is lease


def test_at_its_deadline_the_default_is_the_answer() -> None:
    world = World()
    contract, _ = parked(world, seconds=5.0, default="red")
    world.pass_time(4.0)
    assert contract.state is ContractState.PARKED
    world.pass_time(2.0)
    given = (contract.answers or {})["q"]
    assert (given.value, given.principal, given.answered_ms) == ("red", "", world.now.wall_ms)
    [(leased, _)] = world.plan()
    assert leased is contract


def test_without_a_default_the_contract_fails_and_the_mesh_says_so() -> None:
    world = World()
    contract, _ = parked(world, seconds=5.0)
    world.pass_time(6.0)
    [end] = world.ends()
    assert (end.contract, end.state, end.code) == (contract, ContractState.FAILED, "INPUT_TIMEOUT")
    assert (end.author, end.lease, end.outcome) == (Author.MESH, None, None)


def test_a_default_of_nothing_at_all_is_no_default() -> None:
    world = World()
    parked(world, seconds=5.0, default=None)
    world.pass_time(6.0)
    assert [end.code for end in world.ends()] == ["INPUT_TIMEOUT"]


def test_the_deadline_of_the_contract_goes_on() -> None:
    world = World()
    world.host()
    contract = world.submit(deadline_ms=world.now.wall_ms + 3000)
    [(_, lease)] = world.plan()
    world.ask(contract, lease, seconds=10.0, default="red")
    world.pass_time(4.0)
    [end] = world.ends()
    assert (end.state, end.code) == (ContractState.EXPIRED, "DEADLINE_EXCEEDED")


def test_a_parked_contract_is_cancelled_at_once() -> None:
    world = World()
    contract, _ = parked(world)
    world.core.cancel(world.now, contract.id, "default", "enough")
    [end] = world.ends()
    assert (end.state, end.lease) == (ContractState.CANCELLED, None)
    assert world.cancels() == []
    world.pass_time(10.0)
    assert world.plan() == []


def test_the_end_of_the_askers_session_changes_nothing() -> None:
    world = World()
    contract, _ = parked(world)
    world.sessions.end(world.now, "s1", "killed")
    assert contract.state is ContractState.PARKED
    world.answer(contract)
    world.host("s2", ["a2"], name="h2")
    [(_, lease)] = world.plan()
    assert (lease.agent, contract.losses) == ("a2", 0)


def test_children_without_a_key_end_with_the_attempt_that_asks_and_keyed_ones_go_on() -> None:
    world = World()
    world.host("s1", ["a1"], window=3)
    parent = world.submit()
    [(_, lease)] = world.plan()
    plain = world.child(parent, "plain", keyed=False)
    keyed = world.child(parent, "keyed")
    world.ask(parent, lease)
    assert [end.contract for end in world.ends()] == [plain]
    assert keyed.state is ContractState.QUEUED
    world.answer(parent)
    assert [end.contract for end in world.ends()] == [plain]


def test_an_attempt_that_asked_is_none_that_the_policy_counts() -> None:
    world = World()
    world.host()
    contract = world.submit(retry=NO_RETRY)
    [(_, lease)] = world.plan()
    world.ask(contract, lease)
    world.answer(contract)
    [(_, lease)] = world.plan()
    world.fail(contract, lease)
    [end] = world.ends()
    assert (end.state, end.author) == (ContractState.FAILED, Author.AGENT)


def test_questions_and_answers_count_as_bytes_in_memory_until_the_end() -> None:
    world = World()
    contract, _ = parked(world)
    assert world.core.open_bytes == contract.size == 10
    world.answer(contract)
    assert world.core.open_bytes == contract.size == 3
    [(_, lease)] = world.plan()
    world.report(contract, lease)
    assert world.core.open_bytes == 0


@pytest.mark.parametrize("ended", ["answered", "cancelled"])
def test_events_are_numbered_without_a_gap_over_a_question(ended: str) -> None:
    world = World()
    contract, _ = parked(world)
    if ended == "answered":
        world.answer(contract)
        [(_, lease)] = world.plan()
        world.report(contract, lease)
    else:
        world.core.cancel(world.now, contract.id, "default", "enough")
    world.effects()
    events = [e for x in world.log if isinstance(x, Change) for e in events_of_change(x)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    rest = {
        "answered": [EventType.ANSWERED, EventType.LEASED, EventType.STARTED, EventType.ENDED],
        "cancelled": [EventType.ENDED],
    }
    assert [event.type for event in events] == [
        *(EventType.ACCEPTED, EventType.LEASED, EventType.STARTED, EventType.PARKED),
        *rest[ended],
    ]
