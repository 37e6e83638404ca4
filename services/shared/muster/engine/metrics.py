"""What a worker of the engine counts."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from muster.engine.activities import Activities
from muster.engine.delivering import Deliveries


class _Counts(Collector):
    def __init__(self, deliveries: Deliveries, activities: Activities) -> None:
        self._deliveries = deliveries
        self._activities = activities

    def collect(self) -> Iterator[Metric]:
        deliveries, activities = self._deliveries, self._activities
        yield GaugeMetricFamily(
            "muster_engine_runs", "Open runs that the worker is told of.", deliveries.runs
        )
        yield GaugeMetricFamily(
            "muster_engine_runs_waiting",
            "Runs with entries that Temporal has not taken.",
            deliveries.waiting,
        )
        yield CounterMetricFamily(
            "muster_engine_signals", "Signals that Temporal has taken.", deliveries.signals
        )
        yield CounterMetricFamily(
            "muster_engine_signals_failed",
            "Calls that Temporal did not take, signals and others.",
            deliveries.failures,
        )
        yield CounterMetricFamily(
            "muster_engine_calls", "Calls to schedulers by runs' workflows.", activities.calls
        )
        yield CounterMetricFamily(
            "muster_engine_calls_failed", "Calls to schedulers that failed.", activities.failures
        )


def engine_metrics(deliveries: Deliveries, activities: Activities) -> CollectorRegistry:
    """The registry of one worker."""
    registry = CollectorRegistry()
    registry.register(_Counts(deliveries, activities))
    return registry
