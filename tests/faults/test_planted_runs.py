"""Bugs in workflow runs that are put into the mesh on purpose are found by the rules of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL
from tests.faults.planted import flow_scenarios as play
from tests.faults.planted.stage import staged
from tests.support.history import History, check, report
from tests.support.recording_runs import recording_runs

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Bug:
    """A bug, what brings it to light, the rule that names it, and rules that may break as well."""

    name: str
    scenario: play.Scenario
    rule: str
    besides: frozenset[str] = frozenset()


BUGS = (
    Bug("run_acknowledged_early", play.the_mesh_dies_after_a_start, "R1"),
    Bug("steps_not_found", play.the_mesh_dies_while_a_step_runs, "R3", frozenset({"R4"})),
    Bug("outcome_mistaken", play.a_step_fails, "R4"),
    Bug("step_begun_early", play.two_branches_join, "R5"),
    Bug("undone_in_order", play.a_step_fails, "R8"),
)


async def played(
    bug: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *scenarios: play.Scenario
) -> History:
    """What was seen of some scenarios, on one mesh with this bug."""
    async with staged(bug, folder, monkeypatch, {}) as stage:
        target = stage.mesh.address("mesh")
        async with recording_runs(target, stage.recorder.note, ENGINE_KIND_LOCAL) as runs:
            async with play.flow_stage(stage, runs) as on:
                for scenario in scenarios:
                    await scenario(on)
            await runs.read_back(lambda _run: None)
            stage.note_stalls()
            return stage.history


async def test_without_a_bug_no_rule_of_runs_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenarios = dict.fromkeys(bug.scenario for bug in BUGS)
    history = await played("none", tmp_path, monkeypatch, *scenarios)
    assert check(history) == [], report(history)


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
async def test_the_bug_in_runs_is_found_by_the_rule_that_it_breaks(
    bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = await played(bug.name, tmp_path, monkeypatch, bug.scenario)
    found = check(history)
    rules = {each.rule for each in found}
    assert bug.rule in rules, report(history, found)
    assert rules <= bug.besides | {bug.rule}, report(history, found)
