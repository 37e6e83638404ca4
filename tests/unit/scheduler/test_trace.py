"""Who did what, told from a contract's rows."""

from __future__ import annotations

from dataclasses import replace

from muster.model.ids import first_id_at
from muster.model.ledger import (
    Closing,
    StoredAttempt,
    StoredContract,
    StoredQuestion,
    StoredResponse,
    events_of,
)
from muster.model.states import Author, ContractState, Outcome
from muster.scheduler.conversations.digests import digest_of, piece_of, questions_of, read
from muster.scheduler.conversations.trace import (
    AGENT,
    ENTRIES_PER_CONTRACT_MAX,
    MESH,
    PRINCIPAL,
    entries_of,
    in_order,
)
from muster.v1.conversation_pb2 import TraceEntry
from muster.v1.payload_pb2 import BlobRef, Payload
from muster.v1.question_pb2 import Answer, Question
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Failure, Response

T0 = 1_700_000_000_000
ID = first_id_at(T0)

ASKED = Request(payload=Payload(json='{"topic":"wind"}'))
DONE = StoredResponse(
    9,
    ContractState.SUCCEEDED,
    Author.AGENT,
    T0 + 900,
    "",
    Response(payload=Payload(json='"blown"')).SerializeToString(),
)


def attempt(epoch: int, outcome: Outcome, code: str = "", said: str = "") -> StoredAttempt:
    failure = Failure(code=code, message=said).SerializeToString()
    at = T0 + epoch * 10
    return StoredAttempt(epoch, f"a{epoch}", "k", "h", at, at + 1, outcome, at + 5, code, failure)


def contract(*attempts: StoredAttempt, response: StoredResponse | None = None) -> StoredContract:
    return StoredContract(
        ID, "acme", "ann", "r", b"", "report.write", "talk", 0, ID, 0, "", T0, T0 + 60_000,
        ASKED.SerializeToString(), attempts, response,
    )  # fmt: skip


def told(stored: StoredContract) -> list[tuple[str, int, str, str]]:
    return [
        (event.type.name, entry.by_kind, entry.by, entry.detail)
        for event, entry in zip(events_of(stored), entries_of(read(stored)), strict=True)
    ]


def test_the_agent_that_fails_says_so_and_the_mesh_tells_of_those_it_lost() -> None:
    stored = contract(
        attempt(1, Outcome.FAILED, "NO_NET", "no network"),
        attempt(2, Outcome.LOST, "AGENT_LOST"),
        attempt(9, Outcome.SUCCEEDED),
        response=DONE,
    )
    assert [each for each in told(stored) if each[0] not in ("LEASED", "STARTED")] == [
        ("ACCEPTED", PRINCIPAL, "ann", "topic: wind"),
        ("REQUEUED", AGENT, "a1", "no network"),
        ("REQUEUED", MESH, "", "the agent was lost"),
        ("ENDED", AGENT, "a9", "blown"),
    ]


def test_what_the_mesh_ends_is_the_meshs() -> None:
    word = Response(failure=Failure(code="CANCELLED", message="not needed")).SerializeToString()
    ended = StoredResponse(0, ContractState.CANCELLED, Author.MESH, T0 + 5, "CANCELLED", word)
    assert told(contract(response=ended))[-1] == ("ENDED", MESH, "", "not needed")


def test_each_question_has_its_own_answer() -> None:
    def question(epoch: int, text: str, answer: Answer | None) -> StoredQuestion:
        return StoredQuestion(
            ID, f"q{epoch}", "acme", epoch, T0, 0, "", "",
            Question(id=f"q{epoch}", text=text).SerializeToString(),
            Closing.ANSWERED if answer is not None else None,
            T0 + epoch * 10 + 7 if answer is not None else 0,
            answer.SerializeToString() if answer is not None else b"",
        )  # fmt: skip

    stored = replace(
        contract(*(attempt(epoch, Outcome.PARKED) for epoch in (1, 2, 3))),
        questions=(
            question(1, "Whose?", Answer(value=Payload(json='"mine"'), principal="bob")),
            question(2, "Which?", Answer(value=Payload(json='"this"'))),  # the default
            question(3, "When?", None),
        ),
    )
    assert [each for each in told(stored) if each[0] in ("PARKED", "ANSWERED")] == [
        ("PARKED", AGENT, "a1", "Whose?"),
        ("ANSWERED", PRINCIPAL, "bob", "mine"),
        ("PARKED", AGENT, "a2", "Which?"),
        ("ANSWERED", MESH, "", "this"),
        ("PARKED", AGENT, "a3", "When?"),
    ]
    assert [(each.text, each.answer) for each in questions_of(stored)] == [
        ("Whose?", "mine"),
        ("Which?", "this"),
        ("When?", ""),
    ]


def test_of_a_contract_that_was_given_back_for_ever_both_ends_are_told() -> None:
    returned = [attempt(epoch, Outcome.RETURNED, "RETURNED") for epoch in range(1, 100)]
    stored = contract(*returned)
    entries = entries_of(read(stored))
    assert len(entries) == ENTRIES_PER_CONTRACT_MAX
    assert entries[0].event.sequence == 1
    assert entries[-1].event.sequence == len(events_of(stored))


def test_entries_of_several_contracts_are_put_in_order_of_time() -> None:
    def entry(ms: int, number: str, sequence: int) -> TraceEntry:
        made = TraceEntry()
        made.event.contract_id, made.event.sequence = number, sequence
        made.event.time.FromMilliseconds(T0 + ms)
        return made

    entries = [entry(5, "b", 1), entry(1, "a", 1), entry(5, "a", 3), entry(5, "a", 2)]
    ordered = [(each.event.contract_id, each.event.sequence) for each in in_order(entries)]
    assert ordered == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]


def test_a_digest_says_what_is_no_text_by_what_it_is() -> None:
    blob = BlobRef(sha256="ab" * 32, size_bytes=123_456, media_type="image/png")
    request = Request(payload=Payload(blob=blob))
    stored = replace(contract(), request=request.SerializeToString())
    assert digest_of(read(stored)).asked == "(image/png, 123456 bytes, abababababab)"


def test_decisions_are_read_from_outputs_by_their_names() -> None:
    word = Response(payload=Payload(json='{"Verdict":"reject","text":"x","choice":["a","b"]}'))
    ended = replace(DONE, response=word.SerializeToString())
    piece = piece_of(read(contract(attempt(9, Outcome.SUCCEEDED), response=ended)))
    assert piece.decisions == ("Verdict: reject", "choice: a, b")
