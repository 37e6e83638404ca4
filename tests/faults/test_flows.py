"""The short form of the rows in which processes die under workflow runs, and their plan."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL
from tests.faults.conftest import Note
from tests.faults.flow_driving import AT_ONCE_SHARE, SHARE_MAX, flows_on, plan
from tests.faults.flow_kinds import SYNTHETIC
from tests.faults.rows_flows import IN_ONE, ONE_HOST, local_in_one, setup_of
from tests.faults.table import Row, Trial
from tests.support.history import OWNER, PART

KILLS = 6
ENGINES = {"local": ENGINE_KIND_LOCAL}
PLACES = ("MUSTER_SCHEDULER", "MUSTER_REGISTRY", "MUSTER_EXECUTOR")


def test_a_plan_is_made_by_its_seed_alone_and_deals_evenly() -> None:
    kinds, victims = ["a", "b", "c"], ["x", "y"]
    made = plan(7, 60, kinds, victims)
    assert made == plan(7, 60, kinds, victims)
    assert made != plan(8, 60, kinds, victims)
    assert set(Counter(each.kind for each in made).values()) == {20}
    assert set(Counter(each.victim for each in made).values()) == {30}
    many = [each.share for each in plan(1, 2000, kinds, victims)]
    assert max(many) < SHARE_MAX
    at_once = sum(share == 0 for share in many) / len(many)
    assert at_once == pytest.approx(AT_ONCE_SHARE, abs=0.04)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", ENGINES)
async def test_no_step_reruns_and_none_is_lost_whatever_is_killed(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    for name in PLACES:
        monkeypatch.setenv(name, "")  # the stage sets them, and this puts them back
    trial = Trial(Row("flows", "kill -9 anything, briefly", local_in_one), 1, tmp_path)
    async with flows_on(
        tmp_path, setup_of("all-in-one"), ENGINES[engine], list(SYNTHETIC)
    ) as flows:
        for planned in plan(trial.seed, KILLS, list(flows.kinds), list(IN_ONE)):
            effect = PART if planned.victim == ONE_HOST else OWNER
            await flows.disturbed(planned, IN_ONE[planned.victim], effect)
        await flows.judge(trial)
    assert trial.notes == []
    assert all(measure.held is not False for measure in trial.measures)
    note("; ".join(map(str, trial.measures)))
