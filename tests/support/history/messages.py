"""Records of messages: what the wire said, as it is written down."""

from __future__ import annotations

import hashlib
import json

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from muster.v1 import contract_pb2
from muster.v1.contract_pb2 import AttemptOutcome, Contract
from muster.v1.event_pb2 import Event, EventType, StreamItem
from muster.v1.response_pb2 import ContractState, Response, ResponseAuthor
from muster.v1.session_pb2 import Report, ReportVerdict
from tests.support.history.records import (
    Answer,
    Attempt,
    Change,
    ItemSeen,
    ItemSent,
    Listing,
    Reported,
    Shown,
    WatchEnded,
)


def answer_of(channel: str, response: Response) -> Answer:
    """A response that came on a channel."""
    return Answer(
        channel,
        response.contract_id,
        response.request_id,
        state_name(response.state),
        _author_name(response),
        response.epoch,
        response.attempt,
        response.agent,
        nonce_of(response),
        response.failure.code,
        response.output_chunks,
        _seconds(response.accept_time),
        _seconds(response.end_time),
        digest_of(response),
    )


def shown_of(contract: Contract) -> Shown:
    """A contract as GetContract gave it."""
    return Shown(
        contract.id,
        contract.request.request_id,
        contract.tenant,
        contract.principal,
        contract.request.capability.name,
        state_name(contract.state),
        contract.parent_id,
        contract.sequence,
        _seconds(contract.accept_time),
        _seconds(contract.request.deadline),
        _seconds(contract.end_time),
        contract.request.retry_policy.maximum_attempts,
        [_attempt_of(each) for each in contract.attempts],
    )


def _attempt_of(attempt: contract_pb2.Attempt) -> Attempt:
    return Attempt(
        attempt.number,
        attempt.epoch,
        attempt.agent,
        attempt.host,
        AttemptOutcome.Name(attempt.outcome).removeprefix("ATTEMPT_OUTCOME_"),
        attempt.failure.code,
        attempt.HasField("start_time"),
        _seconds(attempt.lease_time),
        _seconds(attempt.end_time),
    )


def listing_of(contract: Contract) -> Listing:
    """A contract as ListContracts gave it."""
    return Listing(
        contract.id,
        contract.request.request_id,
        contract.parent_id,
        state_name(contract.state),
        contract.tenant,
    )


def change_of(event: Event, watch: str) -> Change:
    """An event that a watch got."""
    return Change(
        event.contract_id,
        event.sequence,
        EventType.Name(event.type).removeprefix("EVENT_TYPE_"),
        state_name(event.state),
        event.epoch,
        event.agent,
        event.code,
        _seconds(event.time),
        watch,
    )


def item_seen(item: StreamItem, watch: str) -> ItemSeen:
    """A stream item that a watch got."""
    return ItemSeen(item.contract_id, item.epoch, item.index, *_content_of(item), watch)


def item_sent(item: StreamItem, session: str) -> ItemSent:
    """A stream item that a host sent."""
    return ItemSent(item.contract_id, item.epoch, item.index, *_content_of(item), session)


def _content_of(item: StreamItem) -> tuple[int, str]:
    """Its number as output, -1 if it is none, and a digest of its content."""
    kind = item.WhichOneof("kind")
    if kind == "output":
        return item.output.chunk, digest_of(item.output.payload)
    return -1, digest_of(getattr(item, kind)) if kind else ""


def watch_ended(response: Response, watch: str) -> WatchEnded:
    """The last frame of a watch."""
    return WatchEnded(
        response.contract_id,
        watch,
        state_name(response.state),
        _author_name(response),
        response.epoch,
        response.output_chunks,
    )


def report_of(report: Report, session: str) -> Reported:
    """A report that a host sent."""
    failed = report.HasField("failure")
    return Reported(
        report.key.contract_id,
        report.key.epoch,
        session,
        (report.failure.code or "AGENT_ERROR") if failed else "",
        report.failure.permanent,
        report.output_chunks,
        nonce_in(report.failure.message if failed else report.payload.json),
        digest_of(report),
    )


def verdict_name(verdict: int) -> str:
    """The name of a ReportVerdict."""
    return ReportVerdict.Name(verdict).removeprefix("REPORT_VERDICT_")  # type: ignore[arg-type]


def state_name(state: int) -> str:
    """The name of a ContractState."""
    return ContractState.Name(state).removeprefix("CONTRACT_STATE_")  # type: ignore[arg-type]


def _author_name(response: Response) -> str:
    return ResponseAuthor.Name(response.author).removeprefix("RESPONSE_AUTHOR_")


def digest_of(message: Message) -> str:
    """What stands for the whole of a message."""
    data = message.SerializeToString(deterministic=True)
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def nonce_in(text: str) -> str:
    """The nonce in an agent's JSON output; empty when there is none."""
    try:
        return str(json.loads(text)["nonce"])
    except (ValueError, KeyError, TypeError):
        return ""


def nonce_of(response: Response) -> str:
    """The nonce in a response's output, or in the words of its failure."""
    if response.HasField("failure"):
        return nonce_in(response.failure.message)
    return nonce_in(response.payload.json)


def _seconds(time: Timestamp) -> float:
    """Unix seconds; 0 for a time that is absent."""
    return time.seconds + time.nanos / 1e9
