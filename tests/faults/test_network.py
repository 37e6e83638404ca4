"""The network fails: in one direction or both, between frames and inside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Note
from tests.faults.proxy import Proxy, Way
from tests.faults.world import READY_SECONDS, World, world
from tests.support.history import executions_per_contract, violations
from tests.support.processes import until

RUNNING = 60
CONTRACTS = 200
HEARTBEAT_SECONDS = 0.4  # shorter than usual, so that a lease is soon over
HELD_SECONDS = 1.0  # half of a lease
BROKEN_SECONDS = 0.7

pytestmark = pytest.mark.timeout(90)

WAYS = {"both ways": tuple(Way), "to the mesh": (Way.THERE,), "from the mesh": (Way.BACK,)}


@pytest.fixture
async def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    beat = {"MUSTER_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS)}
    async with world("separate", tmp_path, monkeypatch, proxied=True, **beat) as made:
        yield made


@pytest.mark.parametrize("ways", [WAYS["both ways"], WAYS["to the mesh"]], ids=str)
async def test_what_a_host_holds_that_is_cut_off_goes_to_another(
    mesh: World, ways: tuple[Way, ...], note: Note
) -> None:
    contract_ids = await mesh.hold("first", RUNNING)
    await mesh.executed(RUNNING)
    mesh.proxies["host-a"].hold(*ways)
    await until(lambda: run_by(mesh, "host-b") >= set(contract_ids), READY_SECONDS, "b runs all")
    mesh.open_gate("first")  # the host that is cut off finishes, too
    for contract_id in contract_ids:
        await mesh.recorder.wait(contract_id)
    mesh.proxies["host-a"].heal()
    await mesh.agents_ready()
    await mesh.load(RUNNING)
    await mesh.settle()
    assert violations(mesh.history) == []
    answered = {each.contract_id: each for each in mesh.history.answers}
    assert {answered[each].agent.rpartition("-")[0] for each in contract_ids} == {"host-b"}
    note(f"{executions_per_contract(mesh.history):.3f} executions per contract")


async def test_a_host_that_hears_nothing_finishes_what_it_has_and_holds_up_nobody(
    mesh: World, note: Note
) -> None:
    await mesh.hold("first", RUNNING)
    await mesh.executed(RUNNING)
    mesh.proxies["host-a"].hold(Way.BACK)
    began = time.monotonic()
    await mesh.load(RUNNING)  # what it is assigned of these, it never hears of
    note(f"with one of two hosts deaf, a load took {time.monotonic() - began:.1f} s")
    mesh.open_gate("first")
    await mesh.settle()
    mesh.proxies["host-a"].heal()
    await mesh.agents_ready()
    assert violations(mesh.history) == []
    assert executions_per_contract(mesh.history) == 1.0


def run_by(mesh: World, host: str) -> set[str]:
    mesh.read_journals()
    return {each.contract_id for each in mesh.history.executions if each.host == host}


async def test_nothing_is_run_again_when_the_link_is_cut_for_less_than_a_lease(
    mesh: World,
) -> None:
    async with mesh.recorder.following(), asyncio.TaskGroup() as tasks:
        await mesh.hold("first", RUNNING)
        await mesh.executed(RUNNING)
        tasks.create_task(mesh.load(CONTRACTS))
        for count, ways in enumerate(WAYS.values(), 1):
            await mesh.answered(count * CONTRACTS // (len(WAYS) + 1))
            mesh.proxies["link"].hold(*ways)
            await asyncio.sleep(HELD_SECONDS)  # not to wait for anything: it is the fault
            mesh.proxies["link"].heal()
        mesh.open_gate("first")
    await mesh.settle()
    assert violations(mesh.history) == []
    assert executions_per_contract(mesh.history) == 1.0


BREAKS: tuple[Callable[[Proxy], None], ...] = (
    lambda proxy: proxy.cut(),
    lambda proxy: proxy.cut_inside(Way.THERE),
    lambda proxy: proxy.cut_inside(Way.BACK),
    lambda proxy: proxy.close(Way.THERE),
    lambda proxy: proxy.close(Way.BACK),
    lambda proxy: proxy.delay(HEARTBEAT_SECONDS),
    lambda proxy: proxy.refuse(),
)


async def test_nothing_is_lost_when_connections_break_in_every_way(mesh: World, note: Note) -> None:
    async with mesh.recorder.following(), asyncio.TaskGroup() as tasks:
        tasks.create_task(mesh.load(CONTRACTS))
        for number, strike in enumerate(BREAKS):
            await mesh.answered(number * CONTRACTS // (len(BREAKS) + 1))
            struck = [mesh.proxies["link"], mesh.proxies["host-a"]][: 1 + number % 2]
            for proxy in struck:
                strike(proxy)
            await asyncio.sleep(BROKEN_SECONDS)  # it is the fault
            for proxy in struck:
                proxy.heal()
            await mesh.agents_ready()
    await mesh.settle()
    assert violations(mesh.history) == []
    note(f"{executions_per_contract(mesh.history):.3f} executions per contract")
