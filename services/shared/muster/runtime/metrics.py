"""Prometheus metrics: a registry of its own for each part of a process, one exposition for all.

Metric names begin with "muster_" and the part's name, so that parts in one process never collide.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def process_registry() -> CollectorRegistry:
    """A registry with what Python and the operating system tell about this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def exposition(registries: Iterable[CollectorRegistry]) -> bytes:
    """All metrics in Prometheus' text format."""
    return b"".join(generate_latest(registry) for registry in registries)
