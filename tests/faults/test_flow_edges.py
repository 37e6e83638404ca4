"""Every crash edge of workflow runs: the scheduler fails exactly there, and no run notices.

`CRASH_EDGES=all` in the environment crosses each with every action in both shapes of a mesh.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from muster.v1.workflow_pb2 import Workflow
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL
from muster.workflow.source import read_workflow
from tests.faults.conftest import Note
from tests.faults.edges import Edge, EdgeWorld, edge_world
from tests.faults.flow_kinds import outcome_of
from tests.support.history import check, report
from tests.support.history.records_runs import Expected
from tests.support.recording_runs import RunRecorder, recording_runs
from tests.support.run_messages import digest_of_value

ALL = os.environ.get("CRASH_EDGES") == "all"
ASKERS = 4  # at a time; each has one run open

# When a failpoint acts: not at once, so that there is something to lose.
WHEN = {
    "run_unanswered": "2",
    "run_step_unsubmitted": "9",
    "run_item_unrecorded": "9",
    "run_entry_untold": "15",
    "run_child_untold": "4",
}
LEDGER = {"ledger_commit": "20", "ledger_full": "30%"}
ACTIONS = ("crash", "error", "apply_then_error")
SENSELESS = {("ledger_full", "crash")}
QUICK = {("all-in-one", "crash"), ("separate", "apply_then_error")}
CASES = [
    (shape, action)
    for shape in ("all-in-one", "separate")
    for action in ACTIONS
    if ALL or (shape, action) in QUICK
]

LEAF = """
name: edge_leaf
steps:
  - name: a
    capability: fault.work
    input: {text: "${input.text}", ms: 5}
output: "${steps.a.output.text}"
"""

GOOD = """
name: edge_good
steps:
  - name: begin
    capability: fault.work
    input: {text: begin, ms: 5}
  - name: children
    depends_on: [begin]
    for_each: "['x', 'y', 'z']"
    workflow: edge_leaf
    input: {text: "${item} ${steps.begin.output.text}"}
  - name: items
    depends_on: [begin]
    for_each: "['u', 'v', 'w', 'x', 'y', 'z']"
    concurrency: 3
    capability: fault.work
    input: {text: "${item}", ms: 5}
  - name: end
    depends_on: [children, items]
    capability: fault.work
    input: {text: "${steps.children.output[2]} ${size(steps.items.output)}", ms: 5}
output: "${steps.end.output.text}"
"""

BAD = """
name: edge_bad
steps:
  - name: one
    capability: fault.work
    input: {text: one, ms: 5}
    compensate: {capability: fault.work, input: {text: "${steps.one.output.text}", ms: 5}}
  - name: two
    depends_on: [one]
    for_each: "['x', 'y']"
    workflow: edge_leaf
    input: {text: "${item}"}
    compensate: {capability: fault.work, input: {text: two, ms: 5}}
  - name: bad
    depends_on: [two]
    capability: fault.work
    input: {text: "${steps.two.output[7]}"}
"""


class FlowEdges(EdgeWorld):
    """Its load are runs."""

    runs: RunRecorder

    @asynccontextmanager
    async def loaded(self) -> AsyncIterator[None]:
        """Runs come and go while the block runs; at its end all that were asked for have ended."""
        target = self.mesh.address("scheduler")
        async with recording_runs(target, self.recorder.note, ENGINE_KIND_LOCAL) as self.runs:
            for text in (LEAF, GOOD, BAD):
                workflow: Workflow = read_workflow(text).workflow
                await self.runs.register(workflow)
            await self._undisturbed()
            async with self._asking():
                yield
            await self.runs.read_back(outcome_of)
        self.read_journals()

    async def _undisturbed(self) -> None:
        for name, state in (("edge_good", "SUCCEEDED"), ("edge_bad", "FAILED")):
            run_id = await self.runs.start(name, f"first-{name}", {}, name)
            await self.runs.follow(run_id)
            outcome = outcome_of(await self.runs.get(run_id))
            self.recorder.note(Expected(name, state, digest_of_value(outcome)))

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        numbers, over = itertools.count(), asyncio.Event()

        async def ask_on() -> None:
            while not over.is_set():
                number = next(numbers)
                name = "edge_bad" if number % 3 == 2 else "edge_good"
                run_id = await self.runs.start(name, f"run-{number}", {}, name)
                await self.runs.follow(run_id)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(ASKERS):
                tasks.create_task(ask_on())
            yield
            over.set()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("shape", "action"), CASES, ids=["-".join(case) for case in CASES])
async def test_runs_go_on_after_every_edge(
    shape: str, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    process = "mesh" if shape == "all-in-one" else "scheduler"
    edges = [
        Edge(point, action, process, when)
        for point, when in (WHEN | LEDGER).items()
        if (point, action) not in SENSELESS
    ]
    async with edge_world(shape, tmp_path, monkeypatch, FlowEdges) as world:
        async with world.loaded():
            await world.cross_all(edges, tmp_path / "reached")
        found = check(world.history)
        assert found == [], report(world.history, found)
        executed = Counter(each.contract_id for each in world.history.executions)
        again = sum(executed[each.contract_id] > 1 for each in world.history.step_contracts)
        runs, contracts = len(world.history.runs_shown), len(world.history.step_contracts)
        note(f"{shape}, {action} at {len(edges)} edges: {runs} runs, {again} of {contracts} again")
