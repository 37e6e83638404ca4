"""Spans that are over when they are made: their times and ids come from what is recorded anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from muster.telemetry.context import SpanRef
from muster.telemetry.tracing import Tracing, version

NANOS_PER_MS = 1_000_000
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)

SERVER, CLIENT, INTERNAL = SpanKind.SERVER, SpanKind.CLIENT, SpanKind.INTERNAL


class Finished:
    """Hands over finished spans of one part of Muster."""

    def __init__(self, tracing: Tracing, scope: str) -> None:
        self._tracing = tracing
        self._scope = InstrumentationScope(scope, version())

    def add(
        self,
        name: str,
        span: SpanRef,
        parent: SpanRef,
        *,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, Any],
        kind: SpanKind = INTERNAL,
        error: str = "",
    ) -> None:
        """A span from `start_ns` to `end_ns` (Unix time); `error` is a code, where it is one."""
        self._tracing.export(
            ReadableSpan(
                name,
                context=_context(span, is_remote=False),
                parent=_context(parent, is_remote=True),
                resource=self._tracing.resource,
                attributes=attributes,
                kind=kind,
                status=Status(StatusCode.ERROR, error) if error else _UNSET,
                start_time=start_ns,
                end_time=max(start_ns, end_ns),
                instrumentation_scope=self._scope,
            )
        )


def _context(span: SpanRef, *, is_remote: bool) -> SpanContext:
    state = TraceState.from_header([span.state]) if span.state else None
    return SpanContext(span.trace_id, span.span_id, is_remote, _SAMPLED, state)
