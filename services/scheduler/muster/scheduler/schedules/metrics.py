"""What is to be measured of schedules."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from muster.runtime.metrics import counter, gauge, labelled
from muster.scheduler.core_schedules import Outcome
from muster.scheduler.schedules.keeping import Schedules


class SchedulesCollector(Collector):
    """Schedules that are owned here, and what became of their ticks."""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        entries, ticking = self._schedules.entries, self._schedules.ticking
        paused = sum(1 for each in entries.values() if each.progress.paused)
        yield labelled(
            gauge("muster_schedules", "Schedules of shards owned here.", "state"),
            {"paused": paused, "unpaused": len(entries) - paused},
        )
        yield labelled(
            counter("muster_schedule_ticks", "Ticks of schedules that were dealt with.", "outcome"),
            {outcome.name.lower(): ticking.outcomes[outcome] for outcome in Outcome},
        )
        yield ticking.lags.family(
            "muster_schedule_lag_seconds",
            "From a tick's instant to its start, jitter and waiting included.",
        )


def schedules_metrics(schedules: Schedules) -> CollectorRegistry:
    """A registry with the metrics of schedules."""
    registry = CollectorRegistry()
    registry.register(SchedulesCollector(schedules))
    return registry
