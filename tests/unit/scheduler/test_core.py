"""The life of a contract, one rule at a time."""

from __future__ import annotations

import pytest

from muster.model import limits
from muster.model.errors import (
    AlreadyExists,
    DeadlinePassed,
)
from muster.model.retry import RetryPolicy
from muster.model.states import Author, ContractState, EventType, Outcome
from muster.scheduler.core_sessions import AgentInfo
from muster.scheduler.effects import Change, EndAttempt, RecordStart
from muster.scheduler.events import events_of_change
from tests.unit.scheduler.worlds import NO_RETRY, ONE, World


def test_a_contract_that_can_be_placed_is_leased_at_once() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(leased, lease)] = world.plan()
    assert leased is contract
    assert contract.state is ContractState.LEASED
    assert lease.agent == "a1"


def test_a_report_ends_the_contract_and_frees_the_slot() -> None:
    world = World()
    world.host()
    first, second = world.submit("r1"), world.submit("r2")
    [(_, lease)] = world.plan()
    assert world.report(first, lease) == "ACCEPTED"
    [end] = world.ends()
    assert (end.state, end.author) == (ContractState.SUCCEEDED, Author.AGENT)
    [(leased, _)] = world.plan()
    assert leased is second


def test_a_resend_of_an_accepted_report_is_a_duplicate_and_changes_nothing() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.report(contract, lease)
    assert world.report(contract, lease) == "ACCEPTED_DUPLICATE"
    assert len(world.ends()) == 1


def test_a_zombie_report_after_its_session_ended_is_fenced() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, old)] = world.plan()
    world.start(contract, old)
    world.sessions.end(world.now, "s1", "silent")
    world.host("s2", ["a2"], name="h2")
    [(_, new)] = world.plan()
    assert new.epoch > old.epoch
    assert world.report(contract, old) == "FENCED"
    assert world.core.counts["fenced"] == 1
    assert world.report(contract, new) == "ACCEPTED"


def test_a_report_from_another_session_is_fenced_even_with_the_right_epoch() -> None:
    world = World()
    world.host("s1", ["a1"])
    world.host("s2", ["a2"], name="h2", offers=["other"])
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.attempts.report(world.now, "s2", contract.id, lease.epoch, "report")
    assert world.verdicts() == ["FENCED"]
    assert contract.state is ContractState.LEASED


def test_a_failed_attempt_is_tried_again_after_a_pause_by_another_agent() -> None:
    world = World()
    world.host(agents=["a1", "a2"])
    contract = world.submit()
    [(_, first)] = world.plan()
    assert world.fail(contract, first) == "ACCEPTED"
    assert contract.state is ContractState.QUEUED
    assert world.plan() == []
    world.pass_time(limits.RETRY_INITIAL_SECONDS + 0.5)
    [(_, second)] = world.plan()
    assert second.agent != first.agent
    assert (second.attempt, second.epoch > first.epoch) == (2, True)


def test_the_only_agent_gets_a_contract_again_though_it_failed_it() -> None:
    world = World()
    world.host()
    contract = world.submit(retry=RetryPolicy(initial_seconds=0.0))
    [(_, first)] = world.plan()
    world.fail(contract, first)
    [(_, second)] = world.plan()
    assert second.agent == first.agent


def test_the_last_allowed_failure_is_the_agents_response() -> None:
    world = World()
    world.host()
    contract = world.submit(retry=NO_RETRY)
    [(_, lease)] = world.plan()
    world.fail(contract, lease)
    [end] = world.ends()
    assert (end.state, end.author, end.code) == (ContractState.FAILED, Author.AGENT, "AGENT_ERROR")


def test_a_permanent_failure_is_not_retried() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.fail(contract, lease, permanent=True)
    assert [end.state for end in world.ends()] == [ContractState.FAILED]


def test_a_resent_failure_is_a_duplicate_while_the_contract_is_open() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.fail(contract, lease)
    assert world.fail(contract, lease) == "ACCEPTED_DUPLICATE"


def test_losing_an_agent_that_never_started_does_not_count() -> None:
    world = World()
    contract = world.submit()
    for number in range(limits.LOST_AGENTS_MAX + 2):
        world.host(f"s{number}", [f"a{number}"], name=f"h{number}")
        assert world.plan()
        world.sessions.end(world.now, f"s{number}", "gone")
    assert contract.state is ContractState.QUEUED
    assert (contract.losses, contract.attempts) == (0, 0)


def test_a_poison_task_is_dead_lettered_after_three_lost_agents() -> None:
    world = World()
    contract = world.submit()
    for number in range(limits.LOST_AGENTS_MAX):
        world.host(f"s{number}", [f"a{number}"], name=f"h{number}")
        [(_, lease)] = world.plan()
        world.start(contract, lease)
        world.sessions.end(world.now, f"s{number}", "killed")
    [end] = world.ends()
    assert (end.state, end.author) == (ContractState.DEAD_LETTERED, Author.MESH)
    reasons = [e.code for e in world.log if isinstance(e, EndAttempt)] + [end.code]
    assert reasons == ["AGENT_LOST"] * 3


def test_after_two_losses_a_contract_runs_alone_in_its_host() -> None:
    world = World()
    suspect = world.submit("suspect")
    for number in range(2):
        world.host(f"s{number}", [f"a{number}"], name=f"h{number}")
        [(_, lease)] = world.plan()
        world.start(suspect, lease)
        world.sessions.end(world.now, f"s{number}", "killed")
    world.host("s9", ["a", "b", "c"], name="h9")
    bystander = world.submit("bystander")
    leased = world.plan()
    assert [contract for contract, _ in leased] == [suspect]
    world.report(suspect, leased[0][1])
    assert [contract for contract, _ in world.plan()] == [bystander]


def test_a_contract_to_be_run_alone_waits_until_its_host_is_idle() -> None:
    world = World()
    suspect = world.submit("suspect")
    for number in range(2):
        world.host(f"s{number}", [f"a{number}"], name=f"h{number}")
        [(_, lease)] = world.plan()
        world.start(suspect, lease)
        world.sessions.end(world.now, f"s{number}", "killed")
    busy = world.submit("busy", capability="other")
    world.host("s9", ["a", "b"], name="h9", offers=["other"])
    [(_, lease)] = world.plan()
    world.sessions.attach("s9", AgentInfo("c", "kind", 1, {"echo": [ONE]}))
    bystander = world.submit("bystander")
    assert world.plan() == []
    world.report(busy, lease)
    assert [contract for contract, _ in world.plan()] == [suspect]
    assert bystander.state is ContractState.QUEUED


def test_start_to_close_ends_the_attempt_and_stops_the_agent() -> None:
    world = World()
    world.host()
    contract = world.submit(start_to_close=5.0)
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.pass_time(5.5)
    [cancel] = world.cancels()
    assert (cancel.epoch, cancel.code) == (lease.epoch, "ATTEMPT_TIMEOUT")
    assert contract.state is ContractState.QUEUED
    assert world.fail(contract, lease) == "FENCED"


def test_a_timed_out_attempts_slot_is_taken_until_its_host_confirms() -> None:
    world = World()
    world.host()
    contract = world.submit(start_to_close=5.0, retry=NO_RETRY)
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.pass_time(5.5)
    assert [(e.state, e.author) for e in world.ends()] == [(ContractState.FAILED, Author.MESH)]
    world.submit("next")
    assert world.plan() == []
    world.attempts.stopped("s1", contract.id, lease.epoch)
    assert len(world.plan()) == 1


def test_time_spent_suspended_is_not_run_time() -> None:
    world = World()
    world.host()
    contract = world.submit(start_to_close=5.0)
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.pass_time(3.0)
    world.attempts.suspend(world.now, "s1", contract.id, lease.epoch)
    world.pass_time(60.0)
    world.attempts.resume(world.now, "s1", contract.id, lease.epoch)
    world.pass_time(1.5)
    assert contract.lease is lease
    world.pass_time(1.0)
    assert contract.lease is None


def test_silence_past_the_heartbeat_timeout_ends_the_attempt() -> None:
    world = World()
    world.host()
    contract = world.submit(heartbeat=2.0, retry=NO_RETRY)
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.pass_time(1.5)
    lease.last_item = world.seconds
    world.pass_time(1.5)
    assert contract.state is ContractState.RUNNING
    world.pass_time(1.0)
    assert [end.code for end in world.ends()] == ["HEARTBEAT_TIMEOUT"]


def test_a_deadline_ends_a_contract_in_the_queue_and_under_an_agent() -> None:
    world = World()
    world.host()
    soon = world.now.wall_ms + 2_000
    running, waiting = world.submit("r1", deadline_ms=soon), world.submit("r2", deadline_ms=soon)
    world.plan()
    world.pass_time(2.5)
    states = {end.contract.id: end.state for end in world.ends()}
    assert states == {running.id: ContractState.EXPIRED, waiting.id: ContractState.EXPIRED}
    assert [cancel.contract_id for cancel in world.cancels()] == [running.id]


def test_nothing_is_leased_after_its_deadline() -> None:
    world = World()
    contract = world.submit(deadline_ms=world.now.wall_ms + 1_000)
    world.seconds += 1.0
    world.host()
    assert world.plan() == []
    assert [end.contract for end in world.ends()] == [contract]


def test_a_request_whose_deadline_has_passed_is_refused() -> None:
    world = World()
    with pytest.raises(DeadlinePassed):
        world.submit(deadline_ms=world.now.wall_ms)
    assert not world.core.contracts


def test_schedule_to_start_expires_only_what_was_never_leased() -> None:
    world = World()
    contract = world.submit(schedule_to_start=3.0)
    world.pass_time(3.5)
    [end] = world.ends()
    assert (end.contract, end.state, end.code) == (
        contract,
        ContractState.EXPIRED,
        "SCHEDULE_TO_START_TIMEOUT",
    )


def test_the_same_request_finds_its_contract_and_another_body_is_refused() -> None:
    world = World()
    first = world.submit()
    assert world.submit() is first
    with pytest.raises(AlreadyExists):
        world.submit(body_sha256=b"other")


def test_a_returned_attempt_does_not_count_and_goes_to_the_head() -> None:
    world = World()
    world.host()
    first = world.submit("r1")
    world.submit("r2")
    [(_, lease)] = world.plan()
    world.attempts.give_back(world.now, "s1", first.id, lease.epoch)
    [(again, new)] = world.plan()
    assert again is first
    assert new.attempt == 1


def test_a_report_that_counts_more_chunks_than_came_is_refused() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    assert world.report(contract, lease, output_chunks=1) == "REFUSED"
    lease.chunks = 1
    assert world.report(contract, lease, output_chunks=1) == "ACCEPTED"


def test_events_are_numbered_without_a_gap_over_a_retry() -> None:
    world = World()
    world.host()
    contract = world.submit(retry=RetryPolicy(initial_seconds=0.0))
    [(_, first)] = world.plan()
    world.fail(contract, first)
    [(_, second)] = world.plan()
    world.report(contract, second)
    world.effects()
    events = [e for x in world.log if isinstance(x, Change) for e in events_of_change(x)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events] == [
        EventType.ACCEPTED,
        EventType.LEASED,
        EventType.STARTED,
        EventType.REQUEUED,
        EventType.LEASED,
        EventType.STARTED,
        EventType.ENDED,
    ]


def test_the_start_of_a_long_attempt_becomes_durable_while_it_runs() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.pass_time(1.0)
    assert [e.lease for e in world.effects() if isinstance(e, RecordStart)] == [lease]


def test_a_lost_attempt_is_recorded_with_its_outcome() -> None:
    world = World()
    world.host()
    contract = world.submit()
    [(_, lease)] = world.plan()
    world.start(contract, lease)
    world.sessions.end(world.now, "s1", "killed")
    [ending] = [e for e in world.effects() if isinstance(e, EndAttempt)]
    assert (ending.contract, ending.lease, ending.outcome) == (contract, lease, Outcome.LOST)
