"""The load and the soak are made by a seed alone, and are what they say."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.load import CONTRACTS_PER_SECOND, LARGE_BYTES, TREE, TREE_CONTRACTS, orders
from tests.faults.rows import ROWS
from tests.faults.soak import CALM_SECONDS, GROUPS, KINDS, plan
from tests.faults.table import BROKEN, FAILED, HELD, Outcome, Row, Trial

MANY = 20_000


def test_the_same_seed_asks_for_the_same_and_another_for_something_else() -> None:
    first, again, other = (list(islice(orders(seed), 500)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_the_load_is_what_it_says() -> None:
    made = list(islice(orders(1), MANY))
    trees = [each for each in made if each.capability == TREE]
    single = [each for each in made if each.capability != TREE]
    contracts = len(single) + TREE_CONTRACTS * len(trees)
    assert contracts / made[-1].at == pytest.approx(CONTRACTS_PER_SECOND, rel=0.03)
    usual = sum(200 <= each.ms <= 5000 for each in single) / len(single)
    assert usual == pytest.approx(0.95, abs=0.01)
    large = sum(len(str(each.values["text"])) >= LARGE_BYTES - 7 for each in made) / MANY
    assert large == pytest.approx(0.05, abs=0.006)
    assert sum(each.timeout == 1.0 for each in made) / MANY == pytest.approx(0.02, abs=0.004)
    cancelled = sum(each.cancel_after is not None for each in single) / MANY
    assert cancelled == pytest.approx(0.02, abs=0.004)
    assert all(each.on_stream for each in made if len(str(each.values["text"])) > 1000)


def test_the_plan_of_a_soak_is_made_by_its_seed_alone() -> None:
    assert plan(3, 600) == plan(3, 600)
    assert plan(3, 600) != plan(4, 600)
    assert plan(3, 60) == plan(3, 600)[: len(plan(3, 60))]


@pytest.mark.parametrize("name", GROUPS)
def test_a_soak_has_faults_of_every_kind_and_heals_them_all(name: str) -> None:
    made = plan(1, 600, name)
    kinds = {kind for kind, (_, group, _) in KINDS.items() if group in GROUPS[name]}
    assert {each.kind for each in made} == kinds
    assert 100 < len(made) < 200
    assert all(each.at + each.seconds <= 600 - CALM_SECONDS for each in made)


def test_the_names_of_rows_are_their_own() -> None:
    assert len(ROWS) == len({row.fault for row in ROWS.values()})


async def nothing(trial: Trial) -> None:
    trial.most("took", 1.0, 2.0)


def make_trial(folder: Path) -> Trial:
    return Trial(Row("nothing", "nothing happens", nothing), 1, folder)


def test_a_row_is_held_when_every_figure_keeps_its_bar(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    trial.most("took", 1.0, 2.0)
    trial.figure("contracts", 1e6)
    assert trial.outcome().result == HELD
    assert str(trial.measures[0]) == "took 1 s"
    trial.least("kept", 89.9, 90.0, "%")
    assert trial.outcome().result == BROKEN
    assert trial.outcome("no mesh").result == FAILED


def test_a_row_with_a_violation_is_broken(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    trial.notes.append("S2: two responses")
    outcome = trial.outcome()
    assert outcome.result == BROKEN
    assert Outcome.of_json(outcome.to_json()) == outcome
    assert json.loads(outcome.to_json())["notes"] == ["S2: two responses"]
