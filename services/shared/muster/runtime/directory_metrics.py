"""Metrics of a process's part in the directory."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from muster.runtime.metrics import gauge
from muster.runtime.registering import Keeper


class DirectoryCollector(Collector):
    """What a process keeps there, and whether it can."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        yield gauge(
            "muster_directory_up",
            "Whether the directory answered when it was last asked: 1 or 0.",
            int(self._keeper.well),
        )
        yield gauge(
            "muster_directory_entries",
            "Entries that this process wants to be in the directory.",
            self._keeper.upkeep.count,
        )


def directory_metrics(keeper: Keeper) -> CollectorRegistry:
    """A registry with them."""
    registry = CollectorRegistry()
    registry.register(DirectoryCollector(keeper))
    return registry
