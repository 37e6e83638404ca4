"""Processes that stand still and go on later, as if nothing had been: SIGSTOP and SIGCONT."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from muster.model import limits
from tests.faults.conftest import Note
from tests.faults.world import READY_SECONDS, World, world
from tests.support.history import executions_per_contract, violations
from tests.support.processes import until

RUNNING = 60
FROZEN_SECONDS = 5.0  # less than a lease
HEARTBEAT_SECONDS = 0.4  # shorter than usual, so that a lease is soon over

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("mesh", ["separate"], indirect=True)
async def test_nothing_is_run_again_when_services_stand_still_for_less_than_a_lease(
    mesh: World,
) -> None:
    assert FROZEN_SECONDS < limits.LEASE_SECONDS
    services = list(mesh.mesh.running.values())
    await mesh.hold("first", RUNNING)
    await mesh.executed(RUNNING)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(mesh.load(RUNNING))
        await mesh.answered(RUNNING // 3)
        for service in services:
            service.signal(signal.SIGSTOP)
        await asyncio.sleep(FROZEN_SECONDS)  # not to wait for anything: it is the fault
        for service in services:
            service.signal(signal.SIGCONT)
    mesh.open_gate("first")
    await mesh.settle()
    assert violations(mesh.history) == []
    assert executions_per_contract(mesh.history) == 1.0


async def test_a_host_that_stood_still_for_longer_than_a_lease_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    beat = str(HEARTBEAT_SECONDS)
    async with world("separate", tmp_path, monkeypatch, MUSTER_HEARTBEAT_SECONDS=beat) as mesh:
        contract_ids = await mesh.hold("first", RUNNING)
        await mesh.executed(RUNNING)
        frozen = mesh.hosts["host-a"]
        frozen.signal(signal.SIGSTOP)
        await until(lambda: others_run_all(mesh, contract_ids), READY_SECONDS, "others run it all")
        mesh.open_gate("first")  # the frozen host finishes when it goes on
        for contract_id in contract_ids:
            await mesh.recorder.wait(contract_id)
        frozen.signal(signal.SIGCONT)
        await mesh.agents_ready()
        await mesh.load(RUNNING)
        await mesh.settle()
        assert violations(mesh.history) == []
        executions = mesh.history.executions
        zombies = [e for e in executions if e.contract_id in contract_ids and e.host == "host-a"]
        note(f"{len(zombies)} attempts went on after others had answered, and changed nothing")
        assert zombies
        later = {each.host for each in executions if each.contract_id not in contract_ids}
        assert later == {"host-a", "host-b"}


def others_run_all(mesh: World, contract_ids: list[str]) -> bool:
    mesh.read_journals()
    running = {each.contract_id for each in mesh.history.executions if each.host == "host-b"}
    return running >= set(contract_ids)
