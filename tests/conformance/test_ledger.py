"""What every backend of `Ledger` writes, and what it refuses."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.backends.ledger_base import Ledger, LedgerFull
from muster.model.ledger import (
    Batch,
    CommitResult,
    Refused,
    StoredAttempt,
    StoredContract,
    StoredResponse,
    events_of,
)
from muster.model.states import Author, ContractState, EventType, Outcome
from tests.conformance.records import Record
from tests.support.ledger_rows import (
    AGENT,
    MESH,
    ONE,
    T0,
    THREE,
    TWO,
    batch,
    contract,
    ending,
    id_at,
    lease,
    leased,
    response,
)


async def one(ledger: Ledger, number: int = ONE) -> StoredContract:
    (found,) = await ledger.load([number])
    return found


def refused(result: CommitResult) -> list[tuple[str, int, int]]:
    """(kind, contract id, epoch) of what was not taken."""
    return [(each.kind, each.row[0], each.row[1]) for each in result.refused]


# --- contracts ------------------------------------------------------------------------------------


async def test_what_was_committed_is_read_back(ledger: Ledger) -> None:
    row = contract(conversation="talk", parent_id=TWO, root_id=THREE, depth=2, actor="a9")
    result = await ledger.commit(batch(contracts=[row]))
    assert not result.refused
    assert await one(ledger) == StoredContract(
        *(ONE, "acme", "ann", f"r{ONE}", b"digest", "echo", "talk", TWO, THREE, 2, "a9"),
        *(T0, T0 + 60_000, b"request", (), None),
    )
    assert (await one(ledger)).state is ContractState.QUEUED


async def test_acceptance_and_first_lease_are_one_row(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[leased(epoch=5)]))
    stored = await one(ledger)
    assert stored.attempts == (StoredAttempt(5, "a1", "k", "h1", T0, 0, Outcome.OPEN, 0, "", b""),)
    assert stored.open_attempt == stored.attempts[0]
    assert stored.state is ContractState.LEASED


async def test_a_scope_that_is_taken_is_refused_with_its_owners_id_and_digest(
    ledger: Ledger,
) -> None:
    await ledger.commit(batch(contracts=[contract(ONE, request_id="r", body_sha256=b"first")]))
    row = contract(TWO, request_id="r", body_sha256=b"second")
    result = await ledger.commit(batch(contracts=[row, contract(THREE)]))
    assert result.refused == [Refused("contracts", row, ONE, b"first")]
    assert [each.id for each in await ledger.load([ONE, TWO, THREE])] == [ONE, THREE]


async def test_of_two_with_one_scope_in_one_commit_the_first_wins(ledger: Ledger) -> None:
    rows = [contract(ONE, request_id="r"), contract(TWO, request_id="r", body_sha256=b"other")]
    result = await ledger.commit(batch(contracts=rows))
    assert result.refused == [Refused("contracts", rows[1], ONE, b"digest")]


async def test_a_scope_is_of_tenant_and_principal(ledger: Ledger) -> None:
    rows = [
        contract(ONE, request_id="r"),
        contract(TWO, request_id="r", tenant="other"),
        contract(THREE, request_id="r", principal="bob"),
    ]
    assert not (await ledger.commit(batch(contracts=rows))).refused
    found = await ledger.find(("other", "ann", "r"))
    assert found is not None
    assert found.id == TWO
    assert await ledger.find(("other", "bob", "r")) is None
    assert await ledger.find(("other", "ann", "r\0")) is None


# --- the fence ------------------------------------------------------------------------------------


async def open_contract(ledger: Ledger) -> None:
    """ONE, leased at epoch 5."""
    await ledger.commit(batch(contracts=[leased(epoch=5)]))


async def test_nothing_is_leased_while_another_lease_is_open(ledger: Ledger) -> None:
    await open_contract(ledger)
    assert refused(await ledger.commit(batch(leases=[lease(6)]))) == [("leases", ONE, 6)]
    await ledger.commit(batch(endings=[ending(5)]))
    assert refused(await ledger.commit(batch(leases=[lease(6)]))) == []
    assert refused(await ledger.commit(batch(leases=[lease(7)]))) == [("leases", ONE, 7)]
    assert [attempt.epoch for attempt in (await one(ledger)).attempts] == [5, 6]


@pytest.mark.parametrize("epoch", [4, 5])
async def test_an_epoch_that_is_not_newer_is_not_leased(ledger: Ledger, epoch: int) -> None:
    await open_contract(ledger)
    await ledger.commit(batch(endings=[ending(5)]))
    await ledger.commit(batch(leases=[lease(epoch)]))
    assert [attempt.epoch for attempt in (await one(ledger)).attempts] == [5]
    assert (await one(ledger)).open_attempt is None


async def test_nothing_is_leased_after_the_response(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[contract()], responses=[response(0, author=MESH)]))
    assert refused(await ledger.commit(batch(leases=[lease(6)]))) == [("leases", ONE, 6)]


async def test_an_unknown_contract_is_neither_leased_nor_ended(ledger: Ledger) -> None:
    rows = {"leases": [lease(6)], "endings": [ending(6)], "responses": [response(6)]}
    found = refused(await ledger.commit(batch(**rows)))
    assert found == [("leases", ONE, 6), ("endings", ONE, 6), ("responses", ONE, 6)]
    assert await ledger.load([ONE]) == []


async def test_only_the_open_attempt_ends_and_only_once(ledger: Ledger) -> None:
    await open_contract(ledger)
    await ledger.commit(batch(endings=[ending(5)]))
    await ledger.commit(batch(leases=[lease(7)]))
    stale, unknown = ending(5, outcome=Outcome.FAILED), ending(6)
    await ledger.commit(batch(endings=[stale]))
    assert refused(await ledger.commit(batch(endings=[unknown]))) == [("endings", ONE, 6)]
    stored = await one(ledger)
    assert [attempt.outcome for attempt in stored.attempts] == [Outcome.LOST, Outcome.OPEN]


async def test_an_attempt_does_not_end_after_the_response(ledger: Ledger) -> None:
    await open_contract(ledger)
    await ledger.commit(batch(responses=[response(5)]))
    assert refused(await ledger.commit(batch(endings=[ending(5)]))) == [("endings", ONE, 5)]


@pytest.mark.parametrize("epoch", [4, 5, 8])
async def test_an_agent_answers_only_by_the_open_lease(ledger: Ledger, epoch: int) -> None:
    await open_contract(ledger)
    await ledger.commit(batch(endings=[ending(5)]))
    await ledger.commit(batch(leases=[lease(7)]))
    found = refused(await ledger.commit(batch(responses=[response(epoch)])))
    assert found == [("responses", ONE, epoch)]
    assert (await one(ledger)).response is None
    assert refused(await ledger.commit(batch(responses=[response(7)]))) == []
    assert (await one(ledger)).response == StoredResponse(
        7, ContractState.SUCCEEDED, Author.AGENT, T0 + 99, "", b"answer"
    )


async def test_an_agent_does_not_answer_after_its_attempt_has_ended(ledger: Ledger) -> None:
    await open_contract(ledger)
    await ledger.commit(batch(endings=[ending(5)]))
    assert refused(await ledger.commit(batch(responses=[response(5)]))) == [("responses", ONE, 5)]


@pytest.mark.parametrize(
    ("first", "second"), [(AGENT, MESH), (MESH, AGENT), (AGENT, AGENT), (MESH, MESH)]
)
async def test_the_first_response_stays(ledger: Ledger, first: int, second: int) -> None:
    await open_contract(ledger)
    await ledger.commit(batch(responses=[response(5, author=first)]))
    result = await ledger.commit(batch(responses=[response(5, author=second, word=b"second")]))
    # The same author's word for the same epoch is a resend, which nobody need hear of.
    assert bool(result.refused) is (first != second)
    found = (await one(ledger)).response
    assert found is not None
    assert (found.author, found.response) == (Author(first), b"answer")


async def test_the_mesh_may_end_what_was_never_leased(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[contract()]))
    assert not (await ledger.commit(batch(responses=[response(0, author=MESH)]))).refused
    assert (await one(ledger)).state is ContractState.CANCELLED


async def test_what_is_refused_takes_nothing_else_with_it(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[leased(ONE, 5), leased(TWO, 5), leased(THREE, 5)]))
    rows = [response(5, ONE), response(4, TWO), response(5, THREE)]
    result = await ledger.commit(batch(responses=rows))
    assert refused(result) == [("responses", TWO, 4)]
    states = [each.state for each in await ledger.load([ONE, TWO, THREE])]
    assert states == [ContractState.SUCCEEDED, ContractState.LEASED, ContractState.SUCCEEDED]


async def test_a_lease_that_follows_an_ending_of_the_same_commit_has_its_own_segment(
    ledger: Ledger,
) -> None:
    await open_contract(ledger)
    made = batch(endings=[ending(5)])
    made.segments[0].freed.add(ONE)
    made.for_lease_of(ONE).leases.append(lease(6))
    assert not (await ledger.commit(made)).refused
    assert [attempt.epoch for attempt in (await one(ledger)).attempts] == [5, 6]


# --- whatever happens -----------------------------------------------------------------------------


async def test_a_full_ledger_takes_the_same_batch_later_and_meanwhile_is_read(
    ledger: Ledger, record: Record
) -> None:
    await ledger.commit(batch(contracts=[leased(ONE)], events=[(ONE, 1)]))
    before = await ledger.history(0, 10)
    made = batch(
        contracts=[contract(TWO, request=b"x" * 1_000_000)],
        responses=[response(1, ONE)],
        events=[(TWO, 1), (ONE, 3)],
    )
    async with record.full(ledger):
        for _ in range(3):
            with pytest.raises(LedgerFull):
                await ledger.commit(made)
        assert [each.state for each in await ledger.load([ONE, TWO])] == [ContractState.LEASED]
        assert await ledger.history(0, 10) == before
    result = await ledger.commit(made)
    assert not result.refused
    assert [each.id for each in await ledger.load([ONE, TWO])] == [ONE, TWO]
    assert (await one(ledger)).state is ContractState.SUCCEEDED
    assert [each.events for each in await ledger.history(before[-1].position, 10)] == [
        [(TWO, 1), (ONE, 3)]
    ]


EPOCHS = st.integers(1, 5)
ROWS = st.one_of(
    st.tuples(st.just("leases"), EPOCHS),
    st.tuples(st.just("starts"), EPOCHS),
    st.tuples(st.just("endings"), EPOCHS),
    st.tuples(st.just("responses"), EPOCHS),
    st.tuples(st.just("cancels"), st.integers(0, 5)),
)


@given(first=st.integers(0, 3), steps=st.lists(ROWS, min_size=3, max_size=12))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_rows_come_events_are_only_added_and_the_fence_holds(
    ledger: Ledger, first: int, steps: list[tuple[str, int]]
) -> None:
    number = id_at(1, next(COUNT))
    rows = [leased(number, first)] if first else [contract(number)]
    await ledger.commit(batch(contracts=rows))
    before = await one(ledger, number)
    for kind, epoch in steps:
        result = await ledger.commit(row_of(before, kind, epoch))
        after = await one(ledger, number)
        if result.refused:
            assert after == before
        check_events(before, after)
        check_fence(before, after)
        before = after


COUNT = itertools.count()


def row_of(stored: StoredContract, kind: str, epoch: int) -> Batch:
    """A row as the scheduler might write it by mistake; a start goes with an open attempt."""
    number, attempt = stored.id, stored.open_attempt
    match kind:
        case "leases":
            return batch(leases=[lease(epoch, number)])
        case "starts":
            rows = [[number, attempt.epoch, T0 + attempt.epoch]] if attempt else []
            return batch(starts=rows)
        case "endings":
            return batch(endings=[ending(epoch, number)])
        case "responses":
            return batch(responses=[response(epoch, number)])
    at = attempt.epoch if attempt else 0
    return batch(responses=[response(at, number, MESH)])


def check_events(before: StoredContract, after: StoredContract) -> None:
    """What was an event stays one, with its number and all that it says."""
    earlier, later = events_of(before), events_of(after)
    assert later[: len(earlier)] == earlier
    assert [event.sequence for event in later] == list(range(1, len(later) + 1))
    assert later[0].type is EventType.ACCEPTED
    ends = [event for event in later if event.type is EventType.ENDED]
    assert ends == (later[-1:] if after.response else [])
    assert later[-1].state is after.state


def check_fence(before: StoredContract, after: StoredContract) -> None:
    """Epochs grow, at most the last attempt is open, and a response is for ever."""
    epochs = [attempt.epoch for attempt in after.attempts]
    assert epochs == sorted(set(epochs))
    assert all(attempt.outcome is not Outcome.OPEN for attempt in after.attempts[:-1])
    if before.response is not None:
        assert after == before
    elif after.response is not None and after.response.author is Author.AGENT:
        assert before.open_attempt is not None
        assert after.response.epoch == before.open_attempt.epoch
