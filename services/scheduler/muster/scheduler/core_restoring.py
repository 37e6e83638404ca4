"""An open contract as a ledger has it, held by a core again."""

from __future__ import annotations

from muster.model.ledger import StoredAttempt, StoredContract, events_of
from muster.model.states import Outcome
from muster.scheduler.core import Core
from muster.scheduler.core_asking import note_reported
from muster.scheduler.records import Contract, Lease, Now


def restore_contract(
    core: Core, now: Now, stored: StoredContract, contract: Contract, progress: tuple[int, int]
) -> None:
    """Hold an open contract. `progress` is (last item, output chunks).

    `contract` is made from its request, with what it asks and was answered; where the record says
    otherwise, the record is right. An open lease belongs to no session yet.
    """
    contract.principal = stored.principal
    contract.request_id = stored.request_id
    contract.body_sha256 = stored.body_sha256
    contract.conversation = stored.conversation
    contract.deadline_ms = stored.deadline_ms
    contract.identify(stored.id, stored.accepted_ms, now)
    contract.root_id = stored.root_id
    contract.depth = stored.depth
    contract.actor = stored.actor
    contract.durable = True
    contract.sequence = len(events_of(stored))
    for attempt in stored.attempts:
        _count_attempt(contract, attempt)
        contract.queued_ms = attempt.ended_ms or contract.queued_ms
    for question in stored.questions:
        contract.queued_ms = max(contract.queued_ms, question.answered_ms)
    core.keep(contract)
    contract.state = stored.state
    if stored.open_attempt is not None:
        contract.lease = _lease(now, contract, stored.open_attempt, progress)
    elif contract.asked is None:
        if contract.schedule_to_start and not stored.attempts:
            waited = (now.wall_ms - stored.accepted_ms) / 1000
            contract.start_by = now.mono + max(0.0, contract.schedule_to_start - waited)
        core.placing.enqueue(contract)
    core.arm(contract)


def _count_attempt(contract: Contract, attempt: StoredAttempt) -> None:
    outcome = attempt.outcome
    if outcome is Outcome.RETURNED or (outcome is Outcome.LOST and not attempt.started_ms):
        return
    contract.attempts += 1
    if outcome is Outcome.LOST:
        contract.losses += 1
    elif outcome in (Outcome.FAILED, Outcome.TIMED_OUT):
        contract.failures += 1
        contract.excluded = (contract.excluded or set()) | {attempt.agent}
    if outcome in (Outcome.FAILED, Outcome.PARKED):
        note_reported(contract, attempt.epoch)


def _lease(
    now: Now, contract: Contract, attempt: StoredAttempt, progress: tuple[int, int]
) -> Lease:
    items, chunks = progress
    return Lease(
        epoch=attempt.epoch,
        attempt=contract.attempts,
        agent=attempt.agent,
        agent_kind=attempt.agent_kind,
        host=attempt.host,
        session_id="",
        leased_ms=attempt.leased_ms,
        slots=None,
        accepted=bool(attempt.started_ms),
        started_ms=attempt.started_ms,
        start_recorded=bool(attempt.started_ms),
        running_since=now.mono,
        last_item=now.mono,
        items=items,
        chunks=chunks,
        queued_ms=contract.queued_ms,
    )
