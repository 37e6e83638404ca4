"""The spans of contracts, made when they are over.

They say what the record says: their times are the ledger's, to the millisecond and rounded
outwards, so that whatever an agent did lies within its attempt. Nothing is kept for them meanwhile.
Whoever owns a contract when it ends, after any restart or takeover, makes the same spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from muster.model.states import ContractState, Outcome
from muster.scheduler.effects import End, EndAttempt
from muster.scheduler.records import Contract, Lease
from muster.telemetry import tracing
from muster.telemetry.context import (
    SpanRef,
    attempt_span,
    contract_span,
    queue_span,
    sampled,
    traceparent_of,
)
from muster.v1.request_pb2 import Request, TraceContext

if TYPE_CHECKING:
    from muster.telemetry.finished import Finished

_SCOPE = "muster.scheduler"
_NANOS_PER_MS = 1_000_000

_WELL_ENDED = frozenset({ContractState.SUCCEEDED, ContractState.CANCELLED})
_WELL_TRIED = frozenset(
    {Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.RETURNED, Outcome.PARKED},
)


def asked_by(request: Request) -> SpanRef | None:
    """The sampled span that a request came out of."""
    if not request.HasField("trace_context"):
        return None
    context = request.trace_context
    return sampled(context.traceparent, context.tracestate)


def name_attempt(context: TraceContext, contract_id: str, epoch: int) -> None:
    """Makes an assignment's trace context, which is the request's, that of its attempt."""
    asking = sampled(context.traceparent, context.tracestate)
    if asking is not None:
        contract = contract_span(asking, contract_id)
        context.traceparent = traceparent_of(attempt_span(contract, contract_id, epoch))


def inherit(request: Request, parent: Contract | None, *, traced: bool) -> None:
    """A child that says nothing of a trace belongs to that of its parent's attempt; `traced` says
    whether attempts have spans."""
    if parent is None or request.HasField("trace_context"):
        return
    of_parent: Request = parent.body
    if of_parent.HasField("trace_context"):
        request.trace_context.CopyFrom(of_parent.trace_context)
        if traced:
            name_attempt(request.trace_context, parent.name, request.parent.epoch)


class ContractSpans:
    """Makes them. For a scheduler of a process whose traces are on."""

    def __init__(self, finished: Finished) -> None:
        self._finished = finished

    @classmethod
    def of_process(cls) -> ContractSpans | None:
        """None while traces are off."""
        on = tracing.current()
        if on is None:
            return None
        from muster.telemetry.finished import Finished

        return cls(Finished(on, _SCOPE))

    def continue_call(self, request: Request, parent: Contract | None) -> None:
        """A request that says nothing of a trace belongs to the unary call that it came by; a child
        only where that is in its parent's trace, for else the call was the beginning of one."""
        span = None if request.HasField("trace_context") else tracing.current_span()
        if span is None:
            return
        if request.HasField("parent"):
            asking = asked_by(parent.body) if parent is not None else None
            if asking is None or asking.trace_id != span.trace_id:
                return
        request.trace_context.traceparent = traceparent_of(span)
        request.trace_context.tracestate = span.state

    def run_ended(
        self,
        workflow: str,
        span: SpanRef,
        asking: SpanRef,
        *,
        from_ms: int,
        to_ms: int,
        attributes: Mapping[str, Any],
        error: str,
    ) -> None:
        """A run of a workflow has ended, or a retry of it."""
        self._finished.add(
            f"workflow {workflow}",
            span,
            asking,
            start_ns=from_ms * _NANOS_PER_MS,
            end_ns=_until(to_ms),
            attributes=attributes,
            error=error,
        )

    def ended(self, change: End | EndAttempt) -> None:
        """An attempt has ended, or its contract with it."""
        contract, lease = change.contract, change.lease
        asking = asked_by(contract.body)
        if asking is None:
            return
        span = contract_span(asking, contract.name)
        if lease is not None:
            self._waited(contract, span, lease.queued_ms, lease.leased_ms, lease.epoch)
            self._tried(contract, span, lease, change)
        elif isinstance(change, End):
            self._waited(contract, span, contract.queued_ms, change.ended_ms, 0)
        if isinstance(change, End):
            self._lived(contract, span, asking, change)

    def _lived(self, contract: Contract, span: SpanRef, asking: SpanRef, end: End) -> None:
        from muster.telemetry.finished import SERVER

        attributes = _attributes(contract)
        attributes["muster.state"] = end.state.name
        attributes["muster.author"] = end.author.name
        attributes["muster.attempts"] = contract.attempts
        if contract.parent_id:
            attributes["muster.depth"] = contract.depth
        if end.code:
            attributes["muster.code"] = end.code
        self._finished.add(
            f"contract {contract.capability}",
            span,
            asking,
            start_ns=contract.accepted_ms * _NANOS_PER_MS,
            end_ns=_until(end.ended_ms),
            attributes=attributes,
            kind=SERVER,
            error="" if end.state in _WELL_ENDED else end.code or end.state.name,
        )

    def _waited(
        self, contract: Contract, parent: SpanRef, from_ms: int, to_ms: int, epoch: int
    ) -> None:
        self._finished.add(
            "queue",
            queue_span(parent, contract.name, epoch),
            parent,
            start_ns=min(from_ms, to_ms) * _NANOS_PER_MS,
            end_ns=_until(to_ms),
            attributes=_attributes(contract),
        )

    def _tried(
        self, contract: Contract, parent: SpanRef, lease: Lease, change: End | EndAttempt
    ) -> None:
        from muster.telemetry.finished import CLIENT

        outcome = change.outcome
        assert outcome is not None
        attributes = _attributes(contract)
        attributes["muster.attempt"] = lease.attempt
        attributes["muster.epoch"] = lease.epoch
        attributes["muster.agent"] = lease.agent
        attributes["muster.agent_kind"] = lease.agent_kind
        attributes["muster.host"] = lease.host
        attributes["muster.outcome"] = outcome.name
        if change.code:
            attributes["muster.code"] = change.code
        self._finished.add(
            "attempt",
            attempt_span(parent, contract.name, lease.epoch),
            parent,
            start_ns=lease.leased_ms * _NANOS_PER_MS,
            end_ns=_until(change.ended_ms),
            attributes=attributes,
            kind=CLIENT,
            error="" if outcome in _WELL_TRIED else change.code or outcome.name,
        )


def _attributes(contract: Contract) -> dict[str, Any]:
    return {
        "muster.contract_id": contract.name,
        "muster.capability": contract.capability,
        "muster.tenant": contract.tenant,
    }


def _until(ms: int) -> int:
    """The last nanosecond of a millisecond."""
    return (ms + 1) * _NANOS_PER_MS - 1
