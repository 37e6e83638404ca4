"""Who did what: entries of the trace, derived from a contract's rows as its events are."""

from __future__ import annotations

from collections.abc import Iterable

from muster.model.ids import format_id
from muster.model.ledger import (
    LifecycleEvent,
    StoredAttempt,
    StoredContract,
    StoredQuestion,
    events_of,
)
from muster.model.states import Author, EventType, Outcome
from muster.scheduler.conversations.digests import (
    EXCERPT_BYTES_MAX,
    Read,
    answer_of,
    payload_text,
)
from muster.scheduler.conversations.excerpts import cut
from muster.scheduler.messages_out import MESSAGES, event_of
from muster.v1.conversation_pb2 import ParticipantKind, TraceEntry
from muster.v1.question_pb2 import Question
from muster.v1.response_pb2 import Failure

PRINCIPAL = ParticipantKind.PARTICIPANT_KIND_PRINCIPAL
AGENT = ParticipantKind.PARTICIPANT_KIND_AGENT
MESH = ParticipantKind.PARTICIPANT_KIND_MESH

# Of one contract, half of them its first and half its last: 8 attempts that count have 25, and more
# are those that were given back without a start.
ENTRIES_PER_CONTRACT_MAX = 64

# Attempts that the agent itself ended.
_BY_AGENT = frozenset({Outcome.SUCCEEDED, Outcome.FAILED, Outcome.RETURNED, Outcome.PARKED})

_Who = tuple["ParticipantKind.ValueType", str]


def entries_of(found: Read) -> list[TraceEntry]:
    """Everything that happened to a contract, in order."""
    events = events_of(found.stored)
    if len(events) > ENTRIES_PER_CONTRACT_MAX:
        half = ENTRIES_PER_CONTRACT_MAX // 2
        events = [*events[:half], *events[-half:]]
    return [_entry(found, event) for event in events]


def in_order(entries: Iterable[TraceEntry]) -> list[TraceEntry]:
    """The entries of several contracts by time; those of one contract stay in their order."""

    def key(entry: TraceEntry) -> tuple[int, int, str, int]:
        event = entry.event
        return (event.time.seconds, event.time.nanos, event.contract_id, event.sequence)

    return sorted(entries, key=key)


def _entry(found: Read, event: LifecycleEvent) -> TraceEntry:
    stored = found.stored
    (kind, name), detail = _who(found, event), _detail(found, event)
    made = TraceEntry(
        event=event_of(event),
        by_kind=kind,
        by=name,
        parent_id=format_id(stored.parent_id) if stored.parent_id else "",
        detail=cut(detail, EXCERPT_BYTES_MAX),
    )
    made.event.ClearField("conversation_id")
    return made


def _who(found: Read, event: LifecycleEvent) -> _Who:
    stored = found.stored
    match event.type:
        case EventType.ACCEPTED:
            return (AGENT, stored.actor) if stored.actor else (PRINCIPAL, stored.principal)
        case EventType.STARTED | EventType.PARKED:
            return AGENT, event.agent
        case EventType.REQUEUED:
            attempt = _attempt(stored, event.epoch)
            by_agent = attempt is not None and attempt.outcome in _BY_AGENT
            return (AGENT, event.agent) if by_agent else (MESH, "")
        case EventType.ANSWERED:
            answer = answer_of(_question(stored, event))
            return (PRINCIPAL, answer.principal) if answer.principal else (MESH, "")
        case EventType.ENDED:
            response = stored.response
            by_agent = response is not None and response.author is Author.AGENT
            return (AGENT, event.agent) if by_agent else (MESH, "")
    return MESH, ""


def _detail(found: Read, event: LifecycleEvent) -> str:
    match event.type:
        case EventType.ACCEPTED:
            return payload_text(found.request.payload)
        case EventType.REQUEUED:
            attempt = _attempt(found.stored, event.epoch)
            failure = Failure.FromString(attempt.failure) if attempt is not None else Failure()
            return failure.message or MESSAGES.get(event.code, "")
        case EventType.PARKED:
            question = _question(found.stored, event)
            return Question.FromString(question.question).text if question is not None else ""
        case EventType.ANSWERED:
            return payload_text(answer_of(_question(found.stored, event)).value)
        case EventType.ENDED if found.response is not None:
            return found.response.failure.message or payload_text(found.response.payload)
    return ""


def _question(stored: StoredContract, event: LifecycleEvent) -> StoredQuestion | None:
    """The question that the contract was parked with, or whose answer the event is."""
    if event.type is EventType.PARKED:
        return next((each for each in stored.questions if each.epoch == event.epoch), None)
    # Events count each question's answer once, in the order in which they were asked.
    earlier = [each for each in events_of(stored) if each.type is EventType.ANSWERED]
    answered = [each for each in stored.questions if each.closing is not None]
    return next(
        (
            question
            for each, question in zip(earlier, answered, strict=False)
            if each.sequence == event.sequence
        ),
        None,
    )


def _attempt(stored: StoredContract, epoch: int) -> StoredAttempt | None:
    return next((each for each in stored.attempts if each.epoch == epoch), None)
