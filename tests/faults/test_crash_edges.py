"""Every crash edge of the promise: a process fails exactly there, and the promise holds.

`CRASH_EDGES=all` in the environment crosses every edge with every action in both shapes of a mesh;
otherwise each edge is crossed by every action that makes sense there, but hanging, in one shape.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from muster.failpoints import EXIT_CRASHED
from muster.failpoints.points import POINTS
from tests.faults.conftest import Note
from tests.faults.edges import Edge, edge_world
from tests.faults.test_flow_edges import WHEN as OF_RUNS
from tests.support.failpoints import failing
from tests.support.history import executions_per_contract, violations
from tests.support.processes import SERVING_SECONDS, MeshProcesses, free_port, machine

ALL = os.environ.get("CRASH_EDGES") == "all"

# When a failpoint acts: not at once, so that there is something to lose.
WHEN = {
    "submit_uncommitted": "5",
    "submit_committed": "5",
    "ledger_commit": "5",
    "ledger_full": "30%",
    "lease_unsent": "5",
    "report_uncommitted": "5",
    "report_unacked": "5",
    "events_unpublished": "5",
    "events_unmarked": "5",
    "scheduler_sweep": "2",
    "drain": "",
    "assignment_unrelayed": "5",
    "report_unrelayed": "5",
    "executor_sweep": "2",
    "assignment_unaccepted": "5",
    "attempt_running": "5",
    "report_unsent": "5",
}
ON_EXECUTOR = ("assignment_unrelayed", "report_unrelayed", "executor_sweep")
ON_HOST = ("assignment_unaccepted", "attempt_running", "report_unsent")
ACTIONS = ("crash", "error", "apply_then_error", "hang")

# A disk that is full neither ends a process nor stops it for good.
SENSELESS = {("ledger_full", "crash"), ("ledger_full", "hang")}


def process_of(shape: str, point: str) -> str:
    if point in ON_HOST:
        return "host-a"
    if shape == "all-in-one":
        return "mesh"
    return "executor" if point in ON_EXECUTOR else "scheduler"


def edges(shape: str, action: str) -> list[Edge]:
    return [
        Edge(point, action, process_of(shape, point), when)
        for point, when in WHEN.items()
        if (point, action) not in SENSELESS
    ]


QUICK = {("separate", "crash"), ("separate", "apply_then_error")}
CASES = [
    (shape, action)
    for shape in ("all-in-one", "separate")
    for action in ACTIONS
    if ALL or (shape, action) in QUICK
]


def test_every_failpoint_is_crossed() -> None:
    # The last one is crossed where there is a bus to publish on: test_bus_faults.
    others = {"ledger_migration", "published_unmarked"}
    assert {*WHEN, *OF_RUNS, *others} == set(POINTS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("shape", "action"), CASES, ids=["-".join(case) for case in CASES])
async def test_the_promise_holds_at_every_edge(
    shape: str, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    crossed = edges(shape, action)
    async with edge_world(shape, tmp_path, monkeypatch) as world:
        async with world.loaded():
            await world.cross_all(crossed, tmp_path / "reached")
        await world.settle()
        assert violations(world.history) == []
        runs = executions_per_contract(world.history)
        note(f"{shape}, {action} at {len(crossed)} edges: {runs:.3f} executions per contract")


@pytest.mark.parametrize(("action", "exit_code"), [("crash", EXIT_CRASHED), ("error", 1)])
async def test_a_migration_that_was_cut_short_is_made_again(
    action: str, exit_code: int, tmp_path: Path
) -> None:
    with failing(f"ledger_migration={action}", tmp_path / "reached") as armed:
        async with machine(tmp_path) as started:
            mesh = MeshProcesses(started, "separate", tmp_path / "data", armed.environment)
            scheduler = await mesh.launch("scheduler", free_port())
            assert await scheduler.wait(SERVING_SECONDS) == exit_code
    async with machine(tmp_path) as started:
        mesh = MeshProcesses(started, "separate", tmp_path / "data")
        await mesh.start("scheduler")
