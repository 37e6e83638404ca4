"""The way of ended spans out of the process: a bounded queue, and a thread that empties it.

The thread and its batches are OpenTelemetry's. What is added here is that nothing is lost unseen,
and that nobody waits: a span that finds the queue full is dropped and counted, and so is a batch
that the receiver did not take.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)

from muster.model import limits
from muster.telemetry.wanted import HTTP, TelemetryInvalid, Wanted


@dataclass(slots=True)
class Counts:
    """What became of spans, since the start of the process."""

    ended: int = 0  # put into the queue
    taken: int = 0  # out of it again
    exported: int = 0
    failed: int = 0  # given to a receiver that did not take them
    overflowed: int = 0  # never put into the queue, because it was full

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return max(0, self.ended - self.taken)


class CountingExporter(SpanExporter):
    """Passes batches on to another exporter, and counts."""

    def __init__(self, exporter: SpanExporter, counts: Counts) -> None:
        self._exporter = exporter
        self._counts = counts

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`. Raises nothing."""
        counts = self._counts
        counts.taken += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - what a receiver does is nothing to end a thread for
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            counts.exported += len(spans)
        else:
            counts.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


class Export(SpanProcessor):
    """One exporter with its queue."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.counts = Counts()
        self._queue_max = _queue_max()
        self._batches = BatchSpanProcessor(
            CountingExporter(exporter, self.counts), max_queue_size=self._queue_max
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """See `SpanProcessor`."""

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue; from the event loop, so it never waits."""
        context: Any = span.context
        if context is None or not context.trace_flags.sampled:
            return
        counts = self.counts
        if counts.ended - counts.taken >= self._queue_max:
            counts.overflowed += 1
            return
        counts.ended += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Export what waits, for a bounded time, and end."""
        # OpenTelemetry waits for a receiver that does not answer for as long as an export may take.
        ending = threading.Thread(target=self._batches.shutdown, name="spans end", daemon=True)
        ending.start()
        ending.join(limits.SPANS_EXIT_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanProcessor`."""
        return self._batches.force_flush(timeout_millis)


def _queue_max() -> int:
    named = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
    size = int(named) if named.isdigit() else limits.SPANS_WAITING_MAX
    return max(1, size)


def exporters_of(wanted: Wanted) -> list[SpanExporter]:
    """The exporters that are wanted. Raises `TelemetryInvalid` where one is not installed."""
    return [_otlp(wanted) if name == "otlp" else ConsoleSpanExporter() for name in wanted.exporters]


def _otlp(wanted: Wanted) -> SpanExporter:
    exporter: SpanExporter
    try:
        # Each imports what it needs only.
        if wanted.protocol == HTTP:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
                OTLPSpanExporter as HttpExporter,
            )

            exporter = HttpExporter()
        else:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
                OTLPSpanExporter as GrpcExporter,
            )

            exporter = GrpcExporter()
    except ModuleNotFoundError as error:
        message = f"the exporter for OTLP over {wanted.protocol} needs {error.name}"
        raise TelemetryInvalid(message) from None
    return exporter
