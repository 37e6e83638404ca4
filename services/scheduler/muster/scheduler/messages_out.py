"""What the core decided and the ledger keeps, as messages for the wire."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from muster.failpoints import failpoint
from muster.model.errors import Unavailable
from muster.model.ids import format_id, shard_of_id
from muster.model.ledger import LifecycleEvent, StoredAttempt, StoredContract, events_of
from muster.model.limits import SOLO_AFTER_LOSSES
from muster.model.states import ContractState
from muster.scheduler.effects import End
from muster.scheduler.records import Contract, Given, Lease, Now
from muster.scheduler.spans import name_attempt
from muster.v1.contract_pb2 import Contract as ContractMessage
from muster.v1.event_pb2 import Event
from muster.v1.link_pb2 import SessionItems
from muster.v1.question_pb2 import Answer
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Failure, Response
from muster.v1.session_pb2 import Assignment

COMMON_MAX = 10_000  # parts of assignments kept; beyond it they are made anew

MESSAGES = {
    "CANCELLED": "the contract was cancelled",
    "PARENT_ENDED": "the contract that asked for it ended",
    "DEADLINE_EXCEEDED": "the deadline passed",
    "SCHEDULE_TO_START_TIMEOUT": "no agent took it within schedule_to_start",
    "AGENT_LOST": "the agent was lost",
    "RETURNED": "the agent gave it back",
    "INPUT_TIMEOUT": "nobody answered in time",
}


def set_seconds(duration: Duration, seconds: float) -> None:
    """Set a duration field in place, to the nanosecond below."""
    whole = int(seconds)
    duration.seconds = whole
    duration.nanos = int((seconds - whole) * 1e9)


def set_ms(timestamp: Timestamp, ms: int) -> None:
    """Set a timestamp field in place."""
    seconds, rest = divmod(ms, 1000)
    timestamp.seconds = seconds
    timestamp.nanos = rest * 1_000_000


class Assignments:
    """Makes assignments. What those of one capability and caller have in common is made once."""

    def __init__(self, *, traced: bool = False) -> None:
        self._traced = traced  # attempts have spans
        self._common: dict[tuple[Any, ...], Assignment] = {}

    def add(self, items: SessionItems, contract: Contract, lease: Lease, now: Now) -> None:
        """Append the assignment of a lease to what is about to be sent to its session."""
        request: Request = contract.body
        item = items.assignments.add()
        item.CopyFrom(self._common_to(contract, lease))
        name = contract.name
        key = item.key
        key.contract_id = name
        key.epoch = lease.epoch
        item.attempt = lease.attempt
        item.agent = lease.agent
        if request.HasField("payload"):
            item.payload.CopyFrom(request.payload)
        set_ms(item.deadline, contract.deadline_ms)
        set_seconds(item.time_left, max(0.0, contract.deadline - now.mono))
        if contract.parent_id:
            item.root_id = format_id(contract.root_id)
            item.parent_id = format_id(contract.parent_id)
            item.depth = contract.depth
        else:
            item.root_id = name
        if contract.conversation:
            item.conversation_id = contract.conversation
        if request.labels:
            item.labels.update(request.labels)
        if request.HasField("trace_context"):
            item.trace_context.CopyFrom(request.trace_context)
            if self._traced:
                name_attempt(item.trace_context, name, lease.epoch)
        if contract.losses >= SOLO_AFTER_LOSSES:
            items.solos.add(contract_id=name, epoch=lease.epoch)
        if contract.last_failure is not None:
            item.last_failure.CopyFrom(contract.last_failure)
        if contract.answers:
            item.answers.extend(map(answer_of, contract.answers.values()))

    def _common_to(self, contract: Contract, lease: Lease) -> Assignment:
        lane = contract.lane
        version = lease.slots.versions.get(lane, "") if lease.slots is not None else ""
        key = (lane, version, contract.principal, contract.start_to_close, contract.heartbeat)
        common = self._common.get(key)
        if common is None:
            if len(self._common) >= COMMON_MAX:
                self._common.clear()
            common = self._common[key] = Assignment(
                capability=contract.capability,
                capability_version=version,
                principal=contract.principal,
                tenant=contract.tenant,
            )
            set_seconds(common.start_to_close, contract.start_to_close)
            if contract.heartbeat:
                set_seconds(common.heartbeat_timeout, contract.heartbeat)
        return common


def mesh_failure(code: str, message: str) -> Failure:
    """The failure of an attempt or a contract that the mesh itself ended."""
    return Failure(code=code, message=message or MESSAGES.get(code, ""))


def response_of(end: End) -> Response:
    """The one response of a contract."""
    contract, lease, report = end.contract, end.lease, end.report
    response = Response()
    response.contract_id = contract.name
    response.request_id = contract.request_id
    response.state = int(end.state)  # type: ignore[assignment]
    response.author = int(end.author)  # type: ignore[assignment]
    if report is not None:
        if end.state is not ContractState.SUCCEEDED:
            response.failure.CopyFrom(report.failure)
        elif report.HasField("payload"):
            response.payload.CopyFrom(report.payload)
        if report.HasField("usage"):
            response.usage.CopyFrom(report.usage)
        if report.output_chunks:
            response.output_chunks = report.output_chunks
    else:
        response.failure.CopyFrom(mesh_failure(end.code, end.message))
    if lease is not None:
        response.epoch = lease.epoch
        response.attempt = lease.attempt
        response.agent = lease.agent
        if lease.started_ms:
            set_ms(response.start_time, lease.started_ms)
    set_ms(response.accept_time, contract.accepted_ms)
    set_ms(response.end_time, end.ended_ms)
    return response


def answer_of(given: Given) -> Answer:
    """The answer to a question."""
    answer = Answer(question_id=given.question_id, value=given.value, principal=given.principal)
    set_ms(answer.answer_time, given.answered_ms)
    return answer


@failpoint("events_unmarked", Unavailable)
def event_of(event: LifecycleEvent) -> Event:
    """A lifecycle event for watchers."""
    message = Event(
        contract_id=format_id(event.contract_id),
        sequence=event.sequence,
        type=int(event.type),  # type: ignore[arg-type]
        state=int(event.state),  # type: ignore[arg-type]
        capability=event.capability,
        epoch=event.epoch,
        agent=event.agent,
        agent_kind=event.agent_kind,
        code=event.code,
        root_id=format_id(event.root_id),
        conversation_id=event.conversation,
    )
    set_ms(message.time, event.time_ms)
    return message


def contract_of(stored: StoredContract, live: Contract | None, *, whole: bool) -> ContractMessage:
    """A contract from the ledger; `live` adds what is not written yet, such as a fresh start.

    Without `whole`, payloads and attempts are left out.
    """
    message = ContractMessage(
        id=format_id(stored.id),
        tenant=stored.tenant,
        principal=stored.principal,
        actor=stored.actor,
        state=int(live.state if live is not None else stored.state),  # type: ignore[arg-type]
        sequence=len(events_of(stored)),
        parent_id=format_id(stored.parent_id) if stored.parent_id else "",
        root_id=format_id(stored.root_id),
        depth=stored.depth,
        shard=shard_of_id(stored.id),
    )
    set_ms(message.accept_time, stored.accepted_ms)
    message.request.ParseFromString(stored.request)
    message.request.request_id = stored.request_id
    set_ms(message.request.deadline, stored.deadline_ms)
    if stored.response is not None:
        message.response.ParseFromString(stored.response.response)
        set_ms(message.end_time, stored.response.ended_ms)
    if whole:
        _add_attempts(message, stored, live)
        add_questions(message, stored)
    else:
        message.request.ClearField("payload")
        if stored.response is not None:
            message.response.ClearField("payload")
    return message


def _add_attempts(message: ContractMessage, stored: StoredContract, live: Contract | None) -> None:
    lease: Any = live.lease if live is not None else None
    for number, attempt in enumerate(stored.attempts, 1):
        started_ms = attempt.started_ms
        if lease is not None and lease.epoch == attempt.epoch:
            started_ms = lease.started_ms
        _add_attempt(message, number, attempt, started_ms)


def add_questions(message: ContractMessage, stored: StoredContract) -> None:
    """What its attempts have asked, and what it waits for."""
    for question in stored.questions:
        entry = message.questions.add(epoch=question.epoch)
        entry.question.ParseFromString(question.question)
        set_ms(entry.ask_time, question.asked_ms)
        if question.answer:
            entry.answer.ParseFromString(question.answer)
    if int(message.state) == ContractState.PARKED and stored.open_question is not None:
        message.question.ParseFromString(stored.open_question.question)


def _add_attempt(
    message: ContractMessage, number: int, attempt: StoredAttempt, started_ms: int
) -> None:
    entry = message.attempts.add(
        number=number,
        epoch=attempt.epoch,
        agent=attempt.agent,
        host=attempt.host,
        outcome=int(attempt.outcome),
    )
    set_ms(entry.lease_time, attempt.leased_ms)
    if started_ms:
        set_ms(entry.start_time, started_ms)
    if attempt.ended_ms:
        set_ms(entry.end_time, attempt.ended_ms)
    if attempt.failure:
        entry.failure.ParseFromString(attempt.failure)
    elif attempt.code:
        entry.failure.CopyFrom(mesh_failure(attempt.code, ""))
