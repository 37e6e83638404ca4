"""Bugs that are put into the mesh on purpose are each found by the rule that they break.

The same scenarios break no rule on a mesh without a bug.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.planted import scenarios as play
from tests.faults.planted.stage import Stage, staged
from tests.support.history import History, Violation, check, report

pytestmark = pytest.mark.timeout(180)

POWER = Path(__file__).parent / "planted" / "power.c"
SUBMITTED = 20  # before the power is cut


@dataclass(frozen=True)
class Bug:
    """A bug, what brings it to light, the rule that names it, and rules that may break as well."""

    name: str
    scenario: play.Scenario
    rule: str
    besides: frozenset[str] = frozenset()


BUGS = (
    Bug("fence_dropped", play.a_zombie_reports, "S4", frozenset({"S6"})),
    Bug("ack_before_commit", play.the_mesh_dies_after_an_ack, "S1"),
    Bug("epoch_not_raised", play.the_mesh_dies_with_a_lease_under_way, "S5"),
    Bug("cross_wired", play.outputs_differ, "S6"),
    Bug("dedup_too_short", play.a_request_comes_again, "S7"),
    Bug("heartbeat_unbound", play.a_host_falls_silent, "S4"),
    Bug("lease_past_deadline", play.a_deadline_passes_in_the_queue, "S12"),
    Bug("event_before_commit", play.the_mesh_dies_with_an_end_under_way, "S9"),
    Bug("window_exceeded", play.more_work_than_window, "Window"),
    Bug("response_overwritten", play.another_report_comes, "S2", frozenset({"S15"})),
    Bug(
        "cancel_overridden",
        play.a_report_comes_after_a_cancel,
        "S11",
        frozenset({"S2", "S8", "S15"}),
    ),
    Bug("retry_miscounted", play.an_agent_fails, "S13"),
    Bug("chunk_lost", play.output_comes_in_parts, "S10"),
    Bug("event_skipped", play.everything_is_watched, "S9"),
    Bug("resend_accepted", play.another_report_comes, "S8"),
    Bug("tenants_mixed", play.tenants_want_the_same, "S14"),
    Bug("ends_miscounted", play.everything_is_watched, "S15"),
)


async def played(
    bug: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *scenarios: play.Scenario,
) -> History:
    """What was seen of some scenarios, on one mesh with this bug."""
    async with staged(bug, folder, monkeypatch, {}) as stage:
        for scenario in scenarios:
            await scenario(stage)
        await stage.recorder.read_back()
        await stage.recorder.count()
        stage.note_stalls()
        return stage.history


async def test_without_a_bug_no_rule_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenarios = dict.fromkeys(bug.scenario for bug in BUGS)
    history = await played("none", tmp_path, monkeypatch, *scenarios)
    assert check(history) == [], report(history)


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
async def test_the_bug_is_found_by_the_rule_that_it_breaks(
    bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = await played(bug.name, tmp_path, monkeypatch, bug.scenario)
    only(bug.rule, bug.besides, check(history), history)


def only(rule: str, besides: frozenset[str], found: list[Violation], history: History) -> None:
    rules = {each.rule for each in found}
    assert rule in rules, report(history, found)
    assert rules <= besides | {rule}, report(history, found)


# --- power ----------------------------------------------------------------------------------------


@pytest.fixture
def power(tmp_path: Path) -> dict[str, str]:
    """What makes a mesh's ledger one that keeps what was synced, and nothing else."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): a power cut cannot be simulated")
    library = tmp_path / "power.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(POWER), "-ldl"]
    subprocess.run([*command, "-lpthread"], check=True)
    (tmp_path / "kept").mkdir()
    return {
        "LD_PRELOAD": str(library),
        "POWER_FROM": str(tmp_path / "data"),
        "POWER_TO": str(tmp_path / "kept"),
    }


async def cut_power(stage: Stage, kept: Path) -> None:
    """Kills the mesh, and leaves of its files what a disk without power still has."""

    def cut() -> None:
        for file in stage.data_dir.iterdir():
            if file.is_file():
                file.unlink()
        for file in kept.iterdir():
            if file.suffix != ".part":
                shutil.copy(file, stage.data_dir)

    await stage.restart(cut)


@pytest.mark.parametrize(("bug", "rules"), [("none", set()), ("fsync_off", {"S1"})])
async def test_what_was_acknowledged_survives_a_power_cut_unless_fsync_is_off(
    bug: str,
    rules: set[str],
    power: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged(bug, tmp_path, monkeypatch, power) as stage:
        await stage.dismiss(await stage.host("power-a", "power"))
        for number in range(SUBMITTED):
            await stage.recorder.submit(f"power-{number}", "power")
        await cut_power(stage, tmp_path / "kept")
        host = await stage.host("power-b", "power")
        for contract_id in stage.history.contract_ids:
            if await stage.state_of(contract_id):
                await host.work()
        await stage.recorder.read_back()
        stage.note_stalls()
        history = stage.history
    found = check(history)
    assert {each.rule for each in found} == rules, report(history, found)
