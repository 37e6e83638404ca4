"""Prometheus metrics: a registry of its own for each part of a process, one exposition for all.

Metric names begin with "muster_", and no two parts share one, so that in one process they never
collide. Labels have few values: states, methods, and capabilities and kinds of agents up to a
bound (`largest`); never tenants, contracts, agents or hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from muster.runtime.loop_lag import LoopLag
from muster.telemetry import tracing

# A second series beside every counter, only to say when it began, is more noise than use.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds. A local unary call takes 0.5 ms, a commit up to 8 ms, a wait up to a minute.
_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 60)


class CallMetrics:
    """What the interceptor counts for each method. Methods are those that exist, so few."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "muster_calls",
            "gRPC calls that have ended, by method and code.",
            ["method", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "muster_call_seconds",
            "Duration of gRPC calls that are no streams, in seconds.",
            ["method"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._open = Gauge(
            "muster_calls_open", "gRPC calls that go on now.", ["method"], registry=registry
        )

    def of(self, method: str) -> MethodMetrics:
        """The metrics of one method."""
        return MethodMetrics(
            method, self._ended, self._seconds.labels(method), self._open.labels(method)
        )


class MethodMetrics:
    """The metrics of one method; looking a label up costs more than counting."""

    def __init__(self, method: str, ended: Counter, seconds: Histogram, opened: Gauge) -> None:
        self._method = method
        self._ended = ended
        self._seconds = seconds
        self._open = opened
        self._by_code: dict[str, Counter] = {}

    def begin(self) -> None:
        """Counts a call that begins."""
        self._open.inc()

    def end(self, code: str, seconds: float | None) -> None:
        """Counts a call that has ended; `seconds` is None for a stream."""
        self._open.dec()
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._ended.labels(self._method, code)
        counter.inc()
        if seconds is not None:
            self._seconds.observe(seconds)


class ProcessMetrics(Collector):
    """What a process tells of itself, besides what the operating system and Python know."""

    def __init__(self, lag: LoopLag) -> None:
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        yield labelled(gauge("muster_build", "Always 1.", "version"), {tracing.version(): 1})
        yield self._lag.late.family(
            "muster_event_loop_lag_seconds", "By how much the event loop woke up too late."
        )
        on = tracing.current()
        counts = on.counts if on is not None else []
        yield counter(
            "muster_spans_exported",
            "Spans that the receiver of traces has taken.",
            sum(each.exported for each in counts),
        )
        yield labelled(
            counter(
                "muster_spans_dropped",
                "Spans that were lost: the queue was full, or the receiver did not take them.",
                "reason",
            ),
            {
                "queue_full": sum(each.overflowed for each in counts),
                "not_taken": sum(each.failed for each in counts),
            },
        )
        yield gauge(
            "muster_spans_waiting",
            "Spans that wait for the receiver of traces.",
            sum(each.waiting for each in counts),
        )


def process_registry(lag: LoopLag) -> CollectorRegistry:
    """A registry with what Python, the operating system and we ourselves tell of this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(ProcessMetrics(lag))
    return registry


# --- for collectors -------------------------------------------------------------------------------

OTHER = "(other)"

_Family = TypeVar("_Family", GaugeMetricFamily, CounterMetricFamily)


def gauge(name: str, text: str, what: str | float) -> GaugeMetricFamily:
    """A gauge with a value, or with the label of that name, for `labelled`."""
    if isinstance(what, str):
        return GaugeMetricFamily(name, text, labels=[what])
    return GaugeMetricFamily(name, text, value=what)


def counter(name: str, text: str, what: str | float) -> CounterMetricFamily:
    """The same for a counter, whose name gets "_total" at its end."""
    if isinstance(what, str):
        return CounterMetricFamily(name, text, labels=[what])
    return CounterMetricFamily(name, text, value=what)


def labelled(family: _Family, values: Mapping[str, float]) -> _Family:
    """The family with a series for each value of its label."""
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def largest(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """The largest of them, at most so many, and what the others come to together."""
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    kept = dict(sorted(ranked[:most]))
    if len(ranked) > most:
        kept[OTHER] = sum(count for _, count in ranked[most:])
    return kept


def exposition(registries: Iterable[CollectorRegistry]) -> bytes:
    """All metrics in Prometheus' text format."""
    return b"".join(generate_latest(registry) for registry in registries)
