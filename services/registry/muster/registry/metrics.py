"""The registry's metrics, read from presence and catalogue when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from muster.model import limits
from muster.registry.core import Presence
from muster.registry.core_catalogue import Catalogue
from muster.registry.servicer_streams import Streams
from muster.runtime.metrics import gauge, labelled, largest


class RegistryCollector(Collector):
    """What a registry sees."""

    def __init__(self, presence: Presence, catalogue: Catalogue, streams: Streams) -> None:
        self._presence = presence
        self._catalogue = catalogue
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        kinds = Counter(agent.kind for agent in self._presence.agents())
        yield labelled(
            gauge("muster_registry_agents", "Agents that are there.", "kind"),
            largest(kinds, limits.KINDS_MEASURED_MAX),
        )
        yield gauge(
            "muster_registry_executors",
            "Executors that report presence.",
            self._presence.executors,
        )
        yield gauge("muster_registry_watchers", "Watchers of presence.", self._streams.watchers)
        yield gauge("muster_registry_revision", "Revision of presence.", self._presence.revision)
        yield gauge(
            "muster_registry_catalogue_complete",
            "Whether the whole catalogue has been read: 1 or 0.",
            int(self._catalogue.is_complete),
        )


def registry_metrics(
    presence: Presence, catalogue: Catalogue, streams: Streams
) -> CollectorRegistry:
    """A registry with the registry's metrics."""
    registry = CollectorRegistry()
    registry.register(RegistryCollector(presence, catalogue, streams))
    return registry
