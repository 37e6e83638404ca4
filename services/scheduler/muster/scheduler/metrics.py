"""The scheduler's metrics, read from what is there when somebody asks.

Gauges are the ledger's truth as the core holds it; counters and histograms are of this life of the
process. `deploy/observability/metrics.md` lists them all, and a test holds it to that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from muster.model import limits
from muster.model.states import TERMINAL, ContractState, Outcome
from muster.runtime.metrics import counter, gauge, labelled, largest
from muster.scheduler.links import Links
from muster.scheduler.publishing import Publisher
from muster.scheduler.service import Scheduler

_COUNTERS = (
    ("accepted", "muster_contracts_accepted", "Contracts accepted."),
    ("fenced", "muster_reports_fenced", "Reports refused because their epoch was stale."),
    ("retries", "muster_attempts_retried", "Attempts that failed and were queued again."),
    ("losses", "muster_attempts_lost", "Attempts whose agent was lost."),
)


class SchedulerCollector(Collector):
    """What a scheduler has, and has done."""

    def __init__(self, scheduler: Scheduler, links: Links) -> None:
        self._scheduler = scheduler
        self._links = links

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        yield from self._contracts()
        yield from self._attempts()
        yield from self._ledger()
        yield from self._fleet()

    def _contracts(self) -> Iterator[Metric]:
        core, observer = self._scheduler.core, self._scheduler.observer
        states = dict.fromkeys(ContractState, 0)
        queued: Counter[str] = Counter()
        for contract in core.contracts.values():
            states[contract.state] += 1
            if contract.lease is None and contract.asked is None:
                queued[contract.capability] += 1
        for (_, state), count in self._scheduler.ended.totals().items():
            states[state] += count
        yield labelled(
            gauge("muster_contracts", "Contracts in the ledger, of shards owned here.", "state"),
            {state.name.lower(): count for state, count in states.items()},
        )
        yield labelled(
            gauge("muster_contracts_queued", "Contracts that wait for an agent.", "capability"),
            largest(queued, limits.CAPABILITIES_MEASURED_MAX),
        )
        yield gauge(
            "muster_contracts_open_bytes", "Requests of open contracts, in memory.", core.open_bytes
        )
        for name, metric, text in _COUNTERS[:1]:
            yield counter(metric, text, core.counts[name])
        yield labelled(
            counter("muster_contracts_ended", "Contracts that have ended.", "state"),
            {state.name.lower(): observer.states[state] for state in sorted(TERMINAL)},
        )
        yield observer.lives.family(
            "muster_contract_seconds", "From acceptance to the end of a contract."
        )
        yield observer.waits.family(
            "muster_queue_wait_seconds",
            "From when a contract could be leased to its lease, for each attempt.",
        )

    def _attempts(self) -> Iterator[Metric]:
        core, observer = self._scheduler.core, self._scheduler.observer
        yield observer.tries.family(
            "muster_attempt_seconds", "From the lease to the end of an attempt."
        )
        yield labelled(
            counter("muster_attempts_ended", "Attempts that have ended.", "outcome"),
            {
                outcome.name.lower(): observer.outcomes[outcome]
                for outcome in Outcome
                if outcome is not Outcome.OPEN
            },
        )
        for name, metric, text in _COUNTERS[1:]:
            yield counter(metric, text, core.counts[name])
        yield observer.plans.family(
            "muster_placement_seconds",
            "Time spent on placing what waits, each time that anything might be placed.",
        )

    def _ledger(self) -> Iterator[Metric]:
        committer = self._scheduler.committer
        yield committer.durations.family(
            "muster_ledger_commit_seconds", "Duration of commits, fsync included."
        )
        yield committer.sizes.family(
            "muster_ledger_commit_changes", "Changes of contracts that a commit holds."
        )
        yield gauge(
            "muster_ledger_up",
            "Whether the ledger takes what it is given: 1, or 0 while it is full or away.",
            int(not committer.failing),
        )
        yield gauge(
            "muster_shards", "Shards that this scheduler owns.", len(self._scheduler.generations)
        )

    def _fleet(self) -> Iterator[Metric]:
        fleet = self._scheduler.core.fleet
        yield gauge("muster_links", "Executors that are linked.", self._links.count)
        yield gauge("muster_hosts", "Sessions that work is placed on.", len(fleet.hosts))
        kinds: Counter[str] = Counter()
        slots = Counter(window=0, active=0, suspended=0)
        for agent in fleet.by_name.values():
            kinds[agent.kind] += 1
            slots["window"] += agent.window
            slots["active"] += agent.active
            slots["suspended"] += agent.suspended
        yield labelled(
            gauge("muster_agents", "Agents that work is placed on.", "kind"),
            largest(kinds, limits.KINDS_MEASURED_MAX),
        )
        yield labelled(
            gauge(
                "muster_agent_slots",
                "Slots: the windows lent to this scheduler, and attempts that run or wait for "
                "children.",
                "state",
            ),
            slots,
        )


class PublisherCollector(Collector):
    """What gets out to the bus, and what does not."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        publisher = self._publisher
        yield gauge(
            "muster_bus_up",
            "Whether the bus took all that it was last given: 1 or 0.",
            int(publisher.well),
        )
        yield counter(
            "muster_events_published", "Events that the bus has taken.", publisher.published
        )
        yield counter(
            "muster_events_publish_failures",
            "Times that the bus did not take all it was given.",
            publisher.failures,
        )
        yield counter(
            "muster_events_gaps",
            "Shards of which events were trimmed before the bus took them.",
            publisher.gaps,
        )
        yield gauge(
            "muster_events_unpublished",
            "Events in memory that wait for the bus; there may be more in the ledger.",
            publisher.waiting,
        )
        yield gauge(
            "muster_events_lag_seconds",
            "How long ago the oldest event that waits for the bus happened.",
            publisher.lag_seconds,
        )


def scheduler_metrics(
    scheduler: Scheduler, links: Links, publisher: Publisher, *more: Collector
) -> CollectorRegistry:
    """A registry with the scheduler's metrics, and more."""
    registry = CollectorRegistry()
    registry.register(SchedulerCollector(scheduler, links))
    registry.register(PublisherCollector(publisher))
    for each in more:
        registry.register(each)
    return registry
