"""The scheduler's metrics, read from the core when somebody asks: the hot path counts nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from muster.scheduler.publishing import Publisher
from muster.scheduler.service import Scheduler


class SchedulerCollector(Collector):
    """Gauges from the ledger's truth as the core holds it, counters per process life."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        core, committer = self._scheduler.core, self._scheduler.committer
        states = Counter((c.tenant, c.state.name.lower()) for c in core.contracts.values())
        for (tenant, ended), count in self._scheduler.ended.totals().items():
            states[tenant, ended.name.lower()] = count
        gauge = GaugeMetricFamily(
            "muster_contracts", "Contracts in the ledger", labels=["tenant", "state"]
        )
        for (tenant, state), count in sorted(states.items()):
            gauge.add_metric([tenant, state], count)
        yield gauge
        for name, text in (
            ("accepted", "Contracts accepted"),
            ("ended", "Contracts ended"),
            ("fenced", "Reports refused because their epoch was stale"),
            ("retries", "Attempts that failed and were queued again"),
            ("losses", "Attempts whose agent was lost"),
        ):
            yield CounterMetricFamily(f"muster_{name}", text, value=core.counts[name])
        yield CounterMetricFamily(
            "muster_commits", "Commits of the ledger", value=committer.commits
        )
        commit = GaugeMetricFamily(
            "muster_commit_seconds", "Duration of the last 1,000 commits", labels=["quantile"]
        )
        for share in (0.5, 0.99):
            commit.add_metric([str(share)], committer.percentile_seconds(share))
        yield commit
        yield GaugeMetricFamily(
            "muster_hosts", "Sessions that work is placed on", value=len(core.fleet.hosts)
        )
        yield GaugeMetricFamily(
            "muster_agents", "Agents that work is placed on", value=len(core.fleet.by_name)
        )


class PublisherCollector(Collector):
    """What gets out to the bus, and what does not."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        publisher = self._publisher
        yield CounterMetricFamily(
            "muster_events_published", "Events that the bus has taken", value=publisher.published
        )
        yield CounterMetricFamily(
            "muster_events_publish_failures",
            "Times that the bus did not take all it was given",
            value=publisher.failures,
        )
        yield CounterMetricFamily(
            "muster_events_gaps",
            "Shards of which events were trimmed before the bus took them",
            value=publisher.gaps,
        )
        yield GaugeMetricFamily(
            "muster_events_unpublished",
            "Events in memory that wait for the bus; there may be more in the ledger",
            value=publisher.waiting,
        )
        yield GaugeMetricFamily(
            "muster_events_lag_seconds",
            "How long ago the oldest event that waits for the bus happened",
            value=publisher.lag_seconds,
        )


def scheduler_metrics(scheduler: Scheduler, publisher: Publisher) -> CollectorRegistry:
    """A registry with the scheduler's metrics."""
    registry = CollectorRegistry()
    registry.register(SchedulerCollector(scheduler))
    registry.register(PublisherCollector(publisher))
    return registry
