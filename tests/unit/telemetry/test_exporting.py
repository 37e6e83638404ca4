"""The bounded way of spans out of the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from muster.model import limits
from muster.telemetry.exporting import CountingExporter, Counts, Export

QUEUE_MAX = 8


def span(*, sampled: bool = True) -> ReadableSpan:
    return ReadableSpan("x", context=SpanContext(1, 1, False, TraceFlags(int(sampled))))


class Gate(SpanExporter):
    """A receiver that answers when it is told to."""

    def __init__(self, answer: Any = SpanExportResult.SUCCESS) -> None:
        self.open = threading.Event()
        self.asked = threading.Event()
        self.answer = answer

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert isinstance(self.answer, SpanExportResult)
        return self.answer


@pytest.fixture(autouse=True)
def _small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(QUEUE_MAX))
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")


def test_what_finds_the_queue_full_is_dropped_and_counted_and_nobody_waits():
    receiver = Gate()
    export = Export(receiver)
    export.on_end(span())
    assert receiver.asked.wait(10)  # it is out of the queue, and does not come back
    for _ in range(QUEUE_MAX + 5):
        export.on_end(span())
    assert (export.counts.waiting, export.counts.overflowed) == (QUEUE_MAX, 5)
    receiver.open.set()
    assert export.force_flush()
    assert export.counts.exported == QUEUE_MAX + 1
    assert export.counts.waiting == 0
    export.shutdown()


@pytest.mark.parametrize("answer", [SpanExportResult.FAILURE, OSError("gone")])
def test_what_the_receiver_does_not_take_is_counted(answer: Any):
    counts = Counts()
    receiver = Gate(answer)
    receiver.open.set()
    exporter = CountingExporter(receiver, counts)
    assert exporter.export([span(), span()]) is SpanExportResult.FAILURE
    assert (counts.exported, counts.failed) == (0, 2)


def test_what_is_not_sampled_goes_nowhere():
    receiver = Gate()
    receiver.open.set()
    export = Export(receiver)
    export.on_end(span(sampled=False))
    assert export.counts == Counts()
    export.shutdown()


def test_an_end_waits_no_longer_for_a_receiver_than_it_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "SPANS_EXIT_SECONDS", 0.2)
    receiver = Gate()
    export = Export(receiver)
    export.on_end(span())
    assert receiver.asked.wait(10)
    began = time.monotonic()
    export.shutdown()
    assert time.monotonic() - began < 2.0
    receiver.open.set()
