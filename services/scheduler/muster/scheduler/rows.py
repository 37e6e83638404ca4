"""What the core decided, as rows for the ledger."""

from __future__ import annotations

from muster.failpoints import failpoint
from muster.model.ledger import Closing, Row, StoredContract
from muster.model.states import Author, Outcome
from muster.scheduler.effects import End, EndAttempt
from muster.scheduler.messages_out import answer_of, mesh_failure
from muster.scheduler.records import Asked, Contract, Given, Lease
from muster.v1.response_pb2 import Failure, Response


@failpoint("submit_uncommitted")
def contract_row(contract: Contract) -> Row:
    """A new contract, without a lease; see CONTRACT_COLUMNS."""
    return [
        contract.id,
        contract.tenant,
        contract.principal,
        contract.request_id,
        contract.body_sha256,
        contract.capability,
        contract.conversation,
        contract.parent_id,
        contract.root_id,
        contract.depth,
        contract.actor,
        contract.accepted_ms,
        contract.deadline_ms,
        contract.body_bytes,
        0,
        "",
        "",
        "",
    ]


def lease_row(contract: Contract, lease: Lease) -> Row:
    """A later lease; see LEASE_COLUMNS."""
    return [
        contract.id,
        lease.epoch,
        lease.agent,
        lease.agent_kind,
        lease.host,
        lease.leased_ms,
    ]


def ending_row(end: EndAttempt) -> Row:
    """An attempt that ended without ending its contract; see ENDING_COLUMNS."""
    failure = end.failure
    if not isinstance(failure, Failure):
        failure = mesh_failure(end.code, end.message) if end.asked is None else Failure()
    return [
        end.contract.id,
        end.lease.epoch,
        int(end.outcome),
        end.lease.started_ms,
        end.ended_ms,
        end.code,
        failure.SerializeToString(),
    ]


def response_row(end: End, response: Response) -> Row:
    """A response; see RESPONSE_COLUMNS."""
    lease = end.lease
    return [
        end.contract.id,
        lease.epoch if lease is not None else 0,
        int(end.state),
        int(end.author),
        int(end.outcome) if end.outcome is not None else 0,
        lease.started_ms if lease is not None else 0,
        end.ended_ms,
        end.code,
        response.SerializeToString(),
    ]


def question_row(contract: Contract, asked: Asked) -> Row:
    """What an attempt asks; see QUESTION_COLUMNS."""
    return [
        contract.id,
        asked.question_id,
        contract.tenant,
        asked.epoch,
        asked.asked_ms,
        asked.deadline_ms,
        "",
        "",
        asked.body.SerializeToString(),
    ]


def answer_row(subject_id: int, given: Given) -> Row:
    """What was answered; see ANSWER_COLUMNS."""
    answer = answer_of(given).SerializeToString()
    return [subject_id, given.question_id, int(Closing.ANSWERED), given.answered_ms, answer]


def was_reported(stored: StoredContract, epoch: int) -> bool:
    """Whether the ledger has accepted an agent's report of this epoch."""
    response = stored.response
    if response is not None and response.epoch == epoch:
        return response.author is Author.AGENT
    reported = (Outcome.FAILED, Outcome.PARKED)
    return any(a.epoch == epoch and a.outcome in reported for a in stored.attempts)
