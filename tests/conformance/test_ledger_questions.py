"""What every backend of `Ledger` keeps of questions and answers, and what it refuses."""

from __future__ import annotations

from muster.backends.ledger_base import Ledger
from muster.model.ledger import Closing, StoredContract, StoredQuestion, events_of
from muster.model.states import ContractState, EventType, Outcome
from tests.conformance.records import Record
from tests.support.ledger_rows import (
    MESH,
    ONE,
    T0,
    TWO,
    answer,
    batch,
    contract,
    ending,
    lease,
    leased,
    question,
    response,
)

LATE = T0 + 10_000


async def one(ledger: Ledger) -> StoredContract:
    (found,) = await ledger.load([ONE])
    return found


async def park(ledger: Ledger) -> None:
    """A contract whose first attempt has asked."""
    result = await ledger.commit(
        batch(
            contracts=[leased()],
            endings=[ending(1, outcome=Outcome.PARKED)],
            questions=[question(1)],
        )
    )
    assert not result.refused


async def test_a_parked_contract_is_read_back_with_its_question(ledger: Ledger) -> None:
    await park(ledger)
    found = await one(ledger)
    asked = StoredQuestion(ONE, "q1", "acme", 1, T0 + 2, T0 + 50, "", "", b"question")
    assert found.questions == (asked,)
    assert (found.state, found.open_question) == (ContractState.PARKED, asked)
    assert await ledger.questions([ONE, TWO]) == [asked]
    types = [event.type for event in events_of(found)]
    assert types == [
        *(EventType.ACCEPTED, EventType.LEASED, EventType.STARTED, EventType.PARKED),
    ]


async def test_an_answered_contract_waits_for_an_agent(ledger: Ledger) -> None:
    await park(ledger)
    assert not (await ledger.commit(batch(answers=[answer()]))).refused
    found = await one(ledger)
    assert (found.state, found.open_question) == (ContractState.QUEUED, None)
    assert found.questions[0].closing is Closing.ANSWERED
    assert (found.questions[0].answered_ms, found.questions[0].answer) == (T0 + 40, b"word")
    last = events_of(found)[-1]
    assert (last.type, last.state, last.sequence) == (EventType.ANSWERED, ContractState.QUEUED, 5)
    assert not (await ledger.commit(batch(leases=[lease(2)]))).refused


async def test_a_second_answer_is_refused_whatever_it_says(ledger: Ledger) -> None:
    await park(ledger)
    await ledger.commit(batch(answers=[answer()]))
    result = await ledger.commit(batch(answers=[answer(word=b"another")]))
    assert [each.kind for each in result.refused] == ["answers"]
    assert (await one(ledger)).questions[0].answer == b"word"
    # The same row again is a batch that is committed again.
    assert not (await ledger.commit(batch(answers=[answer()]))).refused


async def test_two_answers_of_one_transaction_are_one_and_a_refusal(ledger: Ledger) -> None:
    await park(ledger)
    result = await ledger.commit(batch(answers=[answer(), answer(word=b"another")]))
    assert [each.row[-1] for each in result.refused] == [b"another"]


async def test_nothing_is_leased_while_a_question_is_open(ledger: Ledger) -> None:
    await park(ledger)
    result = await ledger.commit(batch(leases=[lease(2)]))
    assert [each.kind for each in result.refused] == ["leases"]


async def test_an_answer_and_the_lease_after_it_fit_into_one_transaction(ledger: Ledger) -> None:
    await park(ledger)
    made = batch(answers=[answer()])
    made.segments[0].freed.add(ONE)
    made.for_lease_of(ONE).leases.append(lease(2))
    assert not (await ledger.commit(made)).refused
    assert (await one(ledger)).state is ContractState.LEASED


async def test_an_attempt_that_asks_must_have_ended_with_it(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[leased()]))
    result = await ledger.commit(batch(questions=[question(1)]))
    assert [each.kind for each in result.refused] == ["questions"]
    await ledger.commit(batch(endings=[ending(1, outcome=Outcome.LOST)]))
    assert (await ledger.commit(batch(questions=[question(1)]))).refused


async def test_what_was_asked_before_is_not_asked_again(ledger: Ledger) -> None:
    await park(ledger)
    await ledger.commit(batch(answers=[answer()]))
    again = batch(
        leases=[lease(2)],
        endings=[ending(2, outcome=Outcome.PARKED)],
        questions=[question(2)],
    )
    assert [each.kind for each in (await ledger.commit(again)).refused] == ["questions"]


async def test_an_answer_without_a_question_is_refused(ledger: Ledger) -> None:
    await ledger.commit(batch(contracts=[leased()]))
    assert (await ledger.commit(batch(answers=[answer()]))).refused


async def test_nobody_answers_a_contract_that_has_ended(ledger: Ledger) -> None:
    await park(ledger)
    ended = response(0, author=MESH)
    assert not (await ledger.commit(batch(responses=[ended]))).refused
    assert (await ledger.commit(batch(answers=[answer()]))).refused
    found = await one(ledger)
    assert (found.state, found.open_question) == (ContractState.CANCELLED, None)
    types = [event.type for event in events_of(found)][-2:]
    assert types == [EventType.PARKED, EventType.ENDED]


async def test_several_questions_are_kept_in_their_order(ledger: Ledger) -> None:
    await park(ledger)
    await ledger.commit(batch(answers=[answer()]))
    second = batch(
        leases=[lease(2)],
        endings=[ending(2, outcome=Outcome.PARKED)],
        questions=[question(2, name="q0")],
    )
    assert not (await ledger.commit(second)).refused
    found = await one(ledger)
    assert [each.question_id for each in found.questions] == ["q1", "q0"]
    assert found.state is ContractState.PARKED
    types = [event.type.name for event in events_of(found)]
    assert types == [
        *("ACCEPTED", "LEASED", "STARTED", "PARKED", "ANSWERED"),
        *("LEASED", "STARTED", "PARKED"),
    ]
    assert [each.sequence for each in events_of(found)] == list(range(1, 9))


async def test_open_questions_of_runs_are_found_by_who_owns_them_next(record: Record) -> None:
    ledger = record.make()
    assert (await ledger.open()).open_questions == []
    run = question(0, TWO)
    run[6:8] = "publish", "approve"
    await ledger.commit(batch(questions=[run, question(0, TWO, "q2"), question(0, TWO, "q3")]))
    gone = answer(TWO, "q3")
    gone[2] = int(Closing.WITHDRAWN)
    assert not (await ledger.commit(batch(answers=[answer(TWO, "q2"), gone]))).refused
    await park(ledger)
    await ledger.close()
    ledger = record.make()
    opening = await ledger.open()
    asked = StoredQuestion(TWO, "q1", "acme", 0, T0 + 1, T0 + 50, "publish", "approve", b"question")
    assert opening.open_questions == [asked]
    assert [each.state for each in opening.open_contracts] == [ContractState.PARKED]
    await ledger.close()


async def test_questions_and_answers_are_forgotten_with_their_contract(ledger: Ledger) -> None:
    await park(ledger)
    await ledger.commit(batch(answers=[answer()], responses=[response(0, author=MESH)]))
    await ledger.commit(batch(contracts=[contract(TWO)]))
    assert sum((await ledger.trim(LATE, 10)).values()) == 1
    assert await ledger.questions([ONE]) == []
    # Nothing of them is left that a contract of this id could trip over.
    await park(ledger)
