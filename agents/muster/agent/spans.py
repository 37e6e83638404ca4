"""The SDK's spans: what a client or a capability asks for, and a capability's run.

Nothing here is called while traces are off, and nothing imported that is not installed.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from muster.agent.context import Facts
from muster.agent.failures import Failed
from muster.model.errors import MusterError
from muster.telemetry import tracing
from muster.telemetry.context import SpanRef, sampled, traceparent_of
from muster.telemetry.wanted import TelemetryInvalid
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import (
    CONTRACT_STATE_CANCELLED,
    CONTRACT_STATE_SUCCEEDED,
    ContractState,
    Response,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

_SCOPE = "muster.agent"
_WELL_ENDED = (CONTRACT_STATE_SUCCEEDED, CONTRACT_STATE_CANCELLED)
CANCELLED = "CANCELLED"

logger = logging.getLogger("muster.agent")

# How an attempt fails whose code raised this.
FailedOf = Callable[[BaseException], Failed]


class Spans:
    """Makes the spans of one host or client."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._tracing = tracing.current()  # None: the application has set OpenTelemetry up

    @classmethod
    def of_process(cls, service: str, instance: str) -> Spans | None:
        """None while traces are off. They are on where OTEL_… variables ask for them, or where the
        application has set OpenTelemetry up before."""
        try:
            tracing.begin(service, instance)
        except TelemetryInvalid as error:
            logger.warning("no traces of this process: %s", error)
        tracer = tracing.tracer(_SCOPE)
        return None if tracer is None else cls(tracer)

    def ask(self, request: Request, began_ns: int | None = None) -> Span | None:
        """The span of a request that is about to go out, and named in it; None: it is not sampled.

        It belongs to the span that the request names already, or else to the one under way. It has
        begun now, or at `began_ns` (Unix time). `follow` ends it.
        """
        from opentelemetry.trace import SpanKind

        within: Context | None = None
        if request.HasField("trace_context"):
            context = request.trace_context
            parent = sampled(context.traceparent, context.tracestate)
            if parent is None:
                return None  # whoever named it has decided so
            within = _within(parent)
        elif self._tracing is not None and self._tracing.skips_root():
            return None
        capability = request.capability.name
        span = self._tracer.start_span(
            f"call {capability}", within, SpanKind.CLIENT, start_time=began_ns
        )
        if not span.is_recording():
            return None
        span.set_attribute("muster.capability", capability)
        if request.request_id:
            span.set_attribute("muster.request_id", request.request_id)
        made = span.get_span_context()
        state = made.trace_state.to_header()
        named = SpanRef(made.trace_id, made.span_id, state)
        request.trace_context.traceparent = traceparent_of(named)
        request.trace_context.tracestate = state
        return span

    def follow(self, span: Span, response: asyncio.Future[Response]) -> None:
        """Ends the span of a request when its response is there, or never will be."""
        response.add_done_callback(functools.partial(_end, span))

    @contextmanager
    def run(self, facts: Facts, failed_of: FailedOf) -> Iterator[None]:
        """The span of a capability's run, under way while the block runs: what the code does and
        asks for belongs to it."""
        parent = sampled(facts.traceparent, facts.tracestate)
        if parent is None:
            yield
            return
        from opentelemetry.context import attach, detach
        from opentelemetry.trace import SpanKind, set_span_in_context

        name = f"run {facts.capability}"
        span = self._tracer.start_span(name, _within(parent), SpanKind.SERVER)
        for key, value in _said_by(facts):
            span.set_attribute(key, value)
        token = attach(set_span_in_context(span))
        try:
            yield
        except BaseException as error:
            code = CANCELLED
            if not isinstance(error, asyncio.CancelledError):
                code = failed_of(error).code
            _set_code(span, code, failed=code != CANCELLED)
            raise
        finally:
            detach(token)
            span.end()


def _end(span: Span, future: asyncio.Future[Response]) -> None:
    if not future.cancelled():
        error = future.exception()
        if error is not None:
            reason = error.reason if isinstance(error, MusterError) else ""
            # A client that is closed waits no more; its contracts go on.
            failed = reason != "NOT_READY"
            _set_code(span, reason or type(error).__name__, failed=failed)
        else:
            _set_response(span, future.result())
    span.end()


def _set_response(span: Span, response: Response) -> None:
    state = ContractState.Name(response.state).removeprefix("CONTRACT_STATE_")
    span.set_attribute("muster.contract_id", response.contract_id)
    span.set_attribute("muster.state", state)
    if response.HasField("failure"):
        failed = response.state not in _WELL_ENDED
        _set_code(span, response.failure.code, failed=failed)


def _set_code(span: Span, code: str, *, failed: bool) -> None:
    """What went wrong in one word; messages may hold anything, so they stay out."""
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("muster.code", code)
    if failed:
        span.set_status(Status(StatusCode.ERROR, code))


def _within(parent: SpanRef) -> Context:
    """A context in which a span elsewhere is under way."""
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        TraceState,
        set_span_in_context,
    )

    context = SpanContext(
        parent.trace_id,
        parent.span_id,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([parent.state]) if parent.state else None,
    )
    return set_span_in_context(NonRecordingSpan(context))


def _said_by(facts: Facts) -> Iterator[tuple[str, str | int]]:
    yield "muster.contract_id", facts.contract_id
    yield "muster.capability", facts.capability
    yield "muster.tenant", facts.tenant
    yield "muster.attempt", facts.attempt
    yield "muster.epoch", facts.epoch
    yield "muster.agent", facts.agent


@functools.cache
def of_worker() -> Spans | None:
    """The spans of a worker process, or of a thread of a host."""
    return Spans.of_process("muster-host", f"worker-{os.getpid()}")
