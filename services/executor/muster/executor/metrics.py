"""The executor's metrics, read from the core when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from muster.executor.core import Core
from muster.executor.core_state import Counts
from muster.runtime.metrics import counter, gauge, labelled

_COUNTERS = {
    "sessions_opened": "Sessions that hosts have opened.",
    "sessions_lost": "Sessions that ended because their host was judged.",
    "assignments": "Assignments that schedulers have sent.",
    "returns": "Assignments given back because they could not be handed out.",
    "reports": "Reports that hosts have sent.",
    "events": "Events written to hosts, counted for each agent.",
    "events_missed": "Events that agents have missed because they were too slow for them.",
    "publishes": "Events of agents, and about them, that the bus has taken.",
    "publish_failures": "Events of agents, and about them, that the bus has not acknowledged.",
    "losses": "Leases that a session no longer held, and for which no report came.",
    "refusals": "Items of hosts that were refused.",
}


class ExecutorCollector(Collector):
    """Gauges from what the core holds, counters per process life."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        book = self._core.book
        sessions = book.sessions.values()
        grace = sum(session.broken_at is not None for session in sessions)
        yield labelled(
            gauge(
                "muster_executor_sessions",
                "Sessions that have a stream, and those in the grace after it broke.",
                "state",
            ),
            {"connected": len(book.sessions) - grace, "grace": grace},
        )
        slots = Counter(window=0, active=0, suspended=0)
        for session in sessions:
            for agent in session.agents.values():
                slots["window"] += agent.window
                slots["active"] += agent.active
                slots["suspended"] += agent.suspended
        yield labelled(
            gauge("muster_executor_slots", "Windows of agents, and how they are used.", "state"),
            slots,
        )
        for name, text, value in (
            ("agents", "Agents on sessions.", sum(len(x.agents) for x in sessions)),
            ("leases", "Leases that sessions hold.", sum(len(x.leases) for x in sessions)),
            ("reports_unacked", "Reports not recorded yet.", sum(len(x.unacked) for x in sessions)),
            ("outbox_items", "Items that wait for hosts.", sum(x.outbox.count for x in sessions)),
            ("subscriptions", "Of agents, to events.", self._core.topics.subscriptions),
            ("heartbeat_seconds", "The period of heartbeats.", book.period),
            ("links", "Links that stand.", sum(x.answered for x in book.links.values())),
            ("links_wanted", "Schedulers that it keeps links to.", len(book.links)),
        ):
            yield gauge(f"muster_executor_{name}", text, value)
        for name, text in _COUNTERS.items():
            yield counter(f"muster_executor_{name}", text, getattr(book.counts, name))


def executor_metrics(core: Core) -> CollectorRegistry:
    """A registry with the executor's metrics."""
    assert set(_COUNTERS) == set(Counts.__slots__)
    registry = CollectorRegistry()
    registry.register(ExecutorCollector(core))
    return registry
