"""Contracts of the ledger in a few words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from muster.model.ids import format_id
from muster.model.ledger import StoredContract, StoredQuestion
from muster.model.states import ContractState
from muster.scheduler.conversations.excerpts import cut, parsed, plain, said
from muster.scheduler.conversations.summary import DECISIVE, Piece
from muster.scheduler.messages_out import set_ms
from muster.v1.conversation_pb2 import ContractDigest
from muster.v1.memory_pb2 import MemoryQuestion
from muster.v1.payload_pb2 import Payload
from muster.v1.question_pb2 import Answer, Question
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response

EXCERPT_BYTES_MAX = 240
PIECE_CHARACTERS_MAX = 1_000  # of a text that is weighed: 200 contracts × 2 of them in 65 ms


class Read(NamedTuple):
    """A contract, with its messages parsed."""

    stored: StoredContract
    request: Request
    response: Response | None


def read(stored: StoredContract) -> Read:
    """Parses what is serialized."""
    response = None
    if stored.response is not None:
        response = Response.FromString(stored.response.response)
    return Read(stored, Request.FromString(stored.request), response)


def payload_text(payload: Payload) -> str:
    """What a payload says; of what is no text, what it is."""
    match payload.WhichOneof("content"):
        case "json":
            return plain(payload.json)
        case "message":
            return f"({payload.message.TypeName()}, {len(payload.message.value)} bytes)"
        case "binary":
            media = payload.binary.media_type or "bytes"
            return f"({media}, {len(payload.binary.data)} bytes)"
        case "blob":
            blob = payload.blob
            return f"({blob.media_type or 'blob'}, {blob.size_bytes} bytes, {blob.sha256[:12]})"
    return ""


def is_opaque(payload: Payload) -> bool:
    """Whether there is something in it that is no text."""
    return payload.WhichOneof("content") not in (None, "json")


def texts_of(found: Read) -> Iterator[tuple[str, str]]:
    """(place, text) of everything in a contract that can be searched."""
    request, response = found.request, found.response
    yield "capability", found.stored.capability
    if request.labels:
        yield "labels", " ".join(f"{key}={value}" for key, value in sorted(request.labels.items()))
    if request.payload.json:
        yield "request", _decoded(request.payload.json)
    if response is None:
        return
    if response.payload.json:
        yield "response", _decoded(response.payload.json)
    if response.HasField("failure"):
        failure = response.failure
        yield "failure", f"{failure.code} {failure.message}".strip()


def _decoded(json_text: str) -> str:
    """JSON text as it is, unless it has escapes, behind which words may hide."""
    return plain(json_text) if "\\" in json_text else json_text


def digest_of(found: Read, state: ContractState | None = None) -> ContractDigest:
    """The contract in a few words; `state` where more is known of it than is written yet."""
    stored, request, response = found
    last = stored.attempts[-1] if stored.attempts else None
    made = ContractDigest(
        contract_id=format_id(stored.id),
        capability=stored.capability,
        state=int(state if state is not None else stored.state),  # type: ignore[arg-type]
        principal=stored.principal,
        actor=stored.actor,
        parent_id=format_id(stored.parent_id) if stored.parent_id else "",
        agent=last.agent if last is not None else "",
        agent_kind=last.agent_kind if last is not None else "",
        attempts=len(stored.attempts),
        asked=cut(payload_text(request.payload), EXCERPT_BYTES_MAX),
    )
    set_ms(made.accept_time, stored.accepted_ms)
    if response is not None and stored.response is not None:
        set_ms(made.end_time, stored.response.ended_ms)
        made.produced = cut(payload_text(response.payload), EXCERPT_BYTES_MAX)
        made.code = response.failure.code
        made.message = cut(response.failure.message, EXCERPT_BYTES_MAX)
    return made


def piece_of(found: Read) -> Piece:
    """The contract as the summarizer takes it."""
    stored, request, response = found
    response = response or Response()
    produced = payload_text(response.payload)
    return Piece(
        id=stored.id,
        capability=stored.capability,
        principal=stored.principal,
        actor=stored.actor,
        agent=stored.attempts[-1].agent if stored.attempts else "",
        state=stored.state,
        accepted_ms=stored.accepted_ms,
        ended_ms=stored.response.ended_ms if stored.response is not None else 0,
        asked=payload_text(request.payload)[:PIECE_CHARACTERS_MAX],
        produced=produced[:PIECE_CHARACTERS_MAX],
        decisions=tuple(_decisions(response.payload.json)),
        code=response.failure.code,
        message=response.failure.message[:PIECE_CHARACTERS_MAX],
        attempts=len(stored.attempts),
    )


def answer_of(question: StoredQuestion | None) -> Answer:
    """The answer to a question; an empty one where there is none."""
    return Answer.FromString(question.answer) if question is not None else Answer()


def questions_of(stored: StoredContract) -> Iterator[MemoryQuestion]:
    """What a contract has asked persons, and what they answered."""
    for each in stored.questions:
        answer = answer_of(each)
        yield MemoryQuestion(
            contract_id=format_id(stored.id),
            question_id=each.question_id,
            text=cut(Question.FromString(each.question).text, EXCERPT_BYTES_MAX),
            answer=cut(payload_text(answer.value), EXCERPT_BYTES_MAX),
            principal=answer.principal,
        )


def _decisions(json_text: str) -> Iterator[str]:
    """What an output says was decided, by the names of its values."""
    lowered = json_text.lower()
    if not json_text.startswith("{") or not any(name in lowered for name in DECISIVE):
        return
    value = parsed(json_text)
    for key, each in value.items() if isinstance(value, dict) else ():
        if key.lower() in DECISIVE:
            yield f"{key}: {said(each)}"[:PIECE_CHARACTERS_MAX]
