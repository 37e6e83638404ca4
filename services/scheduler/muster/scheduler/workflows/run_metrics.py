"""Metrics of runs, read from what is there when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from muster.runtime.metrics import counter, gauge, labelled
from muster.scheduler.workflows.parts import Parts
from muster.v1.workflow_run_pb2 import EngineKind
from muster.workflow.facts import RunState

ENGINES = {
    number: name.removeprefix("ENGINE_KIND_").lower()
    for name, number in EngineKind.items()
    if number
}
OVER = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class RunsCollector(Collector):
    """What runs a scheduler has, and what became of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        runs = self._parts.runs
        of_engines = Counter(run.row.engine for run in runs.open.values())
        yield labelled(
            gauge("muster_runs_open", "Runs of workflows that have not ended.", "engine"),
            {name: of_engines[number] for number, name in ENGINES.items()},
        )
        yield counter(
            "muster_runs_started", "Runs accepted, those of steps included.", runs.started
        )
        yield labelled(
            counter("muster_runs_ended", "Runs that have ended.", "state"),
            {state.name.lower(): runs.ended[state] for state in OVER},
        )
        yield counter("muster_run_items_ended", "Items of steps that have ended.", runs.steps)
        yield runs.seconds.family("muster_run_seconds", "From the start to the end of a run.")
        yield gauge(
            "muster_run_wants_waiting",
            "What runs want done that waits for its turn, for content or for the mesh.",
            self._parts.local.waiting,
        )
