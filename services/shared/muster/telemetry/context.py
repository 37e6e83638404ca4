"""Which span something belongs to, as W3C Trace Context has it. Pure.

Only spans that are sampled count here: of the others nothing is written anywhere.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1
# A member of "tracestate", as the specification has it; vendors may not all agree.
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_MEMBERS_MAX = 32


class SpanRef(NamedTuple):
    """A sampled span, here or anywhere else."""

    trace_id: int  # 128 bits, not 0
    span_id: int  # 64 bits, not 0
    state: str = ""  # what the "tracestate" header says


def sampled(traceparent: str, tracestate: str = "") -> SpanRef | None:
    """The span that a "traceparent" header names; None where it is not sampled, or malformed. A
    "tracestate" that is malformed is as good as none, which the specification wants."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = (int(group, 16) for group in found.groups())
    if not (trace_id and span_id and flags & _SAMPLED):
        return None
    return SpanRef(trace_id, span_id, tracestate if _is_well_formed(tracestate) else "")


def _is_well_formed(tracestate: str) -> bool:
    members = [each.strip() for each in tracestate.split(",")]
    keys = {each.partition("=")[0] for each in members}
    return len(keys) == len(members) <= _MEMBERS_MAX and all(map(_MEMBER.fullmatch, members))


def traceparent_of(span: SpanRef) -> str:
    """The "traceparent" header that names a span."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-01"


def derived(parent: SpanRef, what: str, contract_id: str, epoch: int = 0) -> SpanRef:
    """The span of a contract or one of its attempts, in the trace of `parent`.

    Whoever knows the same about the contract gets the same span id, in any process and at any time.
    It depends on the parent too: meshes may share a trace, and their contract ids may be the same.
    """
    from hashlib import blake2b  # a worker process that is not traced need not load it

    known = f"{what}/{contract_id}/{epoch}/{parent.span_id:016x}".encode()
    number = int.from_bytes(blake2b(known, digest_size=8).digest(), "big")
    return SpanRef(parent.trace_id, number or 1, parent.state)


def contract_span(request: SpanRef, contract_id: str) -> SpanRef:
    """The span of a contract, by the span that asked for it."""
    return derived(request, "contract", contract_id)


def queue_span(contract: SpanRef, contract_id: str, epoch: int) -> SpanRef:
    """The span of the wait that an attempt ended; epoch 0: it ended without one."""
    return derived(contract, "queue", contract_id, epoch)


def attempt_span(contract: SpanRef, contract_id: str, epoch: int) -> SpanRef:
    """The span of an attempt, by its contract's."""
    return derived(contract, "attempt", contract_id, epoch)


def run_span(asking: SpanRef, run_id: str, revision: int) -> SpanRef:
    """The span of a run of a workflow, by the one it was started in; a retry has its own."""
    return derived(asking, "run", run_id, revision)


def dispatch_span(attempt: SpanRef, contract_id: str, epoch: int) -> SpanRef:
    """The span of an executor's part in an attempt, by the attempt's."""
    return derived(attempt, "dispatch", contract_id, epoch)
