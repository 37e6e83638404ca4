"""Lifecycle events: what each change of a contract tells whoever watches.

They are put into words only where somebody does: the ledger keeps their numbers, and derives them
from its rows (`muster.model.ledger.events_of`). A test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator

from muster.model.ledger import LifecycleEvent
from muster.model.states import ContractState, EventType
from muster.scheduler.effects import Accept, Answered, Assign, Change, EndAttempt, RecordStart
from muster.scheduler.records import Contract, Lease


def events_of_change(change: Change) -> Iterator[LifecycleEvent]:
    """One event, or two where an end makes the start durable as well."""
    contract = change.contract
    if isinstance(change, Accept):
        yield _event(contract, 1, EventType.ACCEPTED, ContractState.QUEUED, contract.accepted_ms)
    elif isinstance(change, Assign):
        ms = change.lease.leased_ms
        yield _event(
            contract, change.sequence, EventType.LEASED, ContractState.LEASED, ms, change.lease
        )
    elif isinstance(change, RecordStart):
        yield _start(contract, change.sequence, change.lease)
    elif isinstance(change, Answered):
        ms = change.given.answered_ms
        yield _event(contract, change.sequence, EventType.ANSWERED, ContractState.QUEUED, ms)
    else:
        lease = change.lease
        if change.started and lease is not None:
            yield _start(contract, change.sequence - 1, lease)
        if isinstance(change, EndAttempt) and change.asked is not None:
            kind, state = EventType.PARKED, ContractState.PARKED
        elif isinstance(change, EndAttempt):
            kind, state = EventType.REQUEUED, ContractState.QUEUED
        else:
            kind, state = EventType.ENDED, change.state
        yield _event(contract, change.sequence, kind, state, change.ended_ms, lease, change.code)


def _start(contract: Contract, sequence: int, lease: Lease) -> LifecycleEvent:
    state = ContractState.RUNNING
    return _event(contract, sequence, EventType.STARTED, state, lease.started_ms, lease)


def _event(
    contract: Contract,
    sequence: int,
    kind: EventType,
    state: ContractState,
    time_ms: int,
    lease: Lease | None = None,
    code: str = "",
) -> LifecycleEvent:
    return LifecycleEvent(
        contract.id,
        contract.tenant,
        sequence,
        kind,
        state,
        time_ms,
        contract.capability,
        lease.epoch if lease else 0,
        lease.agent if lease else "",
        lease.agent_kind if lease else "",
        code,
        contract.root_id,
        contract.conversation,
    )
