"""No tick of a schedule is lost or doubled: while processes die, and while clocks are moved.

What the mesh says of the ticks is compared with the contracts that there are and with what an agent
outside of it was asked to do.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from muster.agent import Host, connect
from muster.failpoints import EXIT_CRASHED
from muster.scheduler.schedules.ticking import SCHEDULE_LABEL
from muster.v1.registry_service_pb2 import ListCapabilitiesRequest
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.v1.schedule_pb2 import OverlapPolicy, Tick, TickOutcome
from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from muster.v1.workflow_run_pb2 import EngineKind
from muster.v1.workflow_service_pb2 import ListRunsRequest
from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from muster.wire.channel import open_channel
from muster.wire.times import ms_of_timestamp
from tests.faults.conftest import Note
from tests.faults.injectors import WallClock
from tests.support.meshes import running
from tests.support.processes import Machine, MeshProcesses, machine, until
from tests.support.scheduled import (
    STARTED,
    Ticker,
    create,
    each,
    each_run,
    gaps,
    get,
    history,
    pause,
    scheduling,
)
from tests.support.workflows import Flows, Workers, step

EVERY_MS = 200
LIVES = 8
TICKS_BETWEEN = (1, 6)  # that are executed in one life of the mesh, at most
FOUND_SECONDS = 20.0  # until what was started has been executed, restarts included
HOUR = 3_600
ALLOW = OverlapPolicy.OVERLAP_POLICY_ALLOW
MISSED = TickOutcome.TICK_OUTCOME_MISSED

pytestmark = pytest.mark.timeout(120)


@dataclass
class World:
    """A mesh in processes of its own, and an agent here."""

    machine: Machine
    processes: MeshProcesses
    environment: dict[str, str]
    ticker: Ticker
    stub: ScheduleServiceStub

    async def executed(self, more: int) -> None:
        """Returns when so many more contracts have been executed than at the call."""
        before = len(self.ticker.executed)
        wanted = before + more
        await until(lambda: len(self.ticker.executed) >= wanted, FOUND_SECONDS, f"{more} ticks")

    async def settled(self, name: str) -> list[Tick]:
        """The whole history, when nothing more comes and all that was started is executed."""
        await pause(self.stub, name)
        ticks = await history(self.stub, name)
        targets = {tick.target_id for tick in ticks if tick.outcome == STARTED}
        found = self.ticker.executed
        await until(lambda: targets <= found.keys(), FOUND_SECONDS, "all that was started is done")
        return ticks

    async def contracts(self, name: str) -> list[str]:
        """The contracts that there are of a schedule."""
        async with connect(self.processes.address("scheduler")) as client:
            return [c.id async for c in client.list(labels={SCHEDULE_LABEL: name})]

    async def check(self, name: str) -> list[Tick]:
        """The history, which has every instant once, and agrees with the record and the agent."""
        ticks = await self.settled(name)
        assert gaps(await get(self.stub, name), ticks) == []
        targets = Counter(tick.target_id for tick in ticks if tick.outcome == STARTED)
        assert set(targets.values()) <= {1}
        assert sorted(await self.contracts(name)) == sorted(targets)
        assert targets.keys() == self.ticker.executed.keys()
        return ticks


@asynccontextmanager
async def world(
    tmp_path: Path, environment: dict[str, str], shape: str = "all-in-one"
) -> AsyncIterator[World]:
    async with machine(tmp_path) as started:
        told = {"MUSTER_LOG_LEVEL": "info", **environment}
        processes = MeshProcesses(started, shape, tmp_path / "data", told)
        await processes.start()
        ticker, executor = Ticker(), processes.address("executor")
        host = Host([ticker.agent], target=executor, name="host", leave_seconds=1.0)
        async with running(host), scheduling(processes.address("scheduler")) as stub:
            # Then it is in the ledger, and no scheduler says that nobody has ever offered it.
            await until(lambda: _is_offered(processes), FOUND_SECONDS, "its capability is known")
            yield World(started, processes, told, ticker, stub)


@pytest.mark.parametrize(("end", "lives"), [("kill", LIVES), ("terminate", LIVES // 2)])
async def test_no_tick_is_lost_or_doubled_over_restarts(
    end: str, lives: int, tmp_path: Path, note: Note
) -> None:
    async with world(tmp_path, {}) as mesh:
        spec = each(EVERY_MS)
        spec.overlap = ALLOW
        await create(mesh.stub, "beat", spec)
        for _ in range(lives):
            await mesh.executed(random.randint(*TICKS_BETWEEN))
            await getattr(mesh.processes, end)()
            await mesh.processes.start()
        await mesh.executed(TICKS_BETWEEN[1])
        ticks = await mesh.check("beat")
        # What nobody could start at its time has been started late, within the window.
        assert {tick.outcome for tick in ticks} == {STARTED}
        late = max(ms_of_timestamp(t.record_time) - ms_of_timestamp(t.time) for t in ticks)
        assert late > EVERY_MS
        reruns = sum(mesh.ticker.executed.values()) - len(ticks)
        note(f"{len(ticks)} ticks, {lives} restarts, latest start {late} ms, {reruns} reruns")


@pytest.mark.parametrize(
    "edge",
    [
        "submit_uncommitted=crash@3",  # the tick is decided on, and nothing of it is written
        "submit_committed=crash@3",  # all of it is, and nobody has been told
        "ledger_commit=crash@7",
        "report_uncommitted=crash@3",  # the end of what a tick started
        "report_unacked=crash@3",
    ],
)
async def test_no_tick_is_lost_or_doubled_at_a_crash_edge(
    edge: str, tmp_path: Path, note: Note
) -> None:
    async with world(tmp_path, {}) as mesh:
        spec = each(EVERY_MS)
        spec.overlap = OverlapPolicy.OVERLAP_POLICY_QUEUE
        spec.queue_max = 100
        await create(mesh.stub, "beat", spec)
        await mesh.executed(2)
        await mesh.processes.kill()
        for _ in range(3):
            mesh.environment["MUSTER_FAILPOINTS"] = edge
            await mesh.processes.begin()  # it may crash before it is seen serving
            assert await mesh.processes.running["mesh"].wait(FOUND_SECONDS) == EXIT_CRASHED
        del mesh.environment["MUSTER_FAILPOINTS"]
        await mesh.processes.start()
        await mesh.executed(3)
        await until(lambda: _nothing_waits(mesh.stub), FOUND_SECONDS, "the queue is worked off")
        ticks = await mesh.check("beat")
        assert {tick.outcome for tick in ticks} == {STARTED}
        note(f"{len(ticks)} ticks, 3 crashes")


async def _is_offered(processes: MeshProcesses) -> bool:
    async with open_channel(processes.address("registry")) as channel:
        reply = await RegistryServiceStub(channel).ListCapabilities(ListCapabilitiesRequest())
        return any(entry.capability.name == "clock.tick" for entry in reply.entries)


async def _nothing_waits(stub: ScheduleServiceStub) -> bool:
    return not (await get(stub, "beat")).state.waiting


async def test_a_clock_that_is_moved_neither_loses_nor_doubles_a_tick(
    tmp_path: Path, note: Note
) -> None:
    clock = WallClock(tmp_path)
    async with world(tmp_path, clock.environment()) as mesh:
        spec = each(EVERY_MS)
        spec.overlap = ALLOW
        spec.catch_up_window.FromSeconds(10)
        await create(mesh.stub, "beat", spec)
        await mesh.executed(3)
        clock.shift(HOUR)
        # What the jump left behind within the window is started; more of it is missed.
        await mesh.executed(10_000 // EVERY_MS)
        clock.shift(HOUR - 3)
        await _stands_still(mesh)
        await mesh.executed(3)  # it has caught up
        clock.shift(HOUR + 5)
        await mesh.executed(5_000 // EVERY_MS)
        await mesh.processes.kill()
        clock.shift(HOUR + 4)
        await mesh.processes.start()
        await mesh.executed(3)
        ticks = await mesh.check("beat")
        missed = sum(tick.count for tick in ticks if tick.outcome == MISSED)
        # An hour, but for the window.
        expected = (HOUR - 10) * 1000 // EVERY_MS
        assert abs(missed - expected) <= 3 * 1000 // EVERY_MS
        note(f"{len(mesh.ticker.executed)} started, {missed} missed, in {len(ticks)} entries")


async def _stands_still(mesh: World) -> None:
    """For two seconds of the three for which the clock is behind, nothing is started."""
    await asyncio.sleep(0.5)  # what was on its way
    before = (await get(mesh.stub, "beat")).state.counts.started
    await asyncio.sleep(1.5)
    assert (await get(mesh.stub, "beat")).state.counts.started == before


@pytest.mark.timeout(180)
async def test_who_takes_over_goes_on_where_the_dead_scheduler_was(
    tmp_path: Path, postgres_url: str, note: Note
) -> None:
    names = [f"beat-{number}" for number in range(8)]
    async with world(tmp_path, {"MUSTER_LEDGER": postgres_url}, "replicas") as mesh:
        spec = each(EVERY_MS)
        spec.overlap = ALLOW
        for name in names:
            await create(mesh.stub, name, spec)
        await mesh.executed(2 * len(names))
        for victim in ("scheduler-1", "scheduler-2"):
            await mesh.processes.kill(victim)
            await mesh.executed(4 * len(names))
            await mesh.processes.start(victim)
            await mesh.executed(4 * len(names))
        started = 0
        for name in names:
            await pause(mesh.stub, name)
        for name in names:
            ticks = await mesh.settled(name)
            assert gaps(await get(mesh.stub, name), ticks) == []
            assert {tick.outcome for tick in ticks} == {STARTED}
            targets = [tick.target_id for tick in ticks]
            assert sorted(targets) == sorted(set(await mesh.contracts(name)))
            started += len(targets)
        assert started == len(mesh.ticker.executed)
        note(f"{started} ticks of {len(names)} schedules, each scheduler killed once")


async def test_runs_are_started_once_each_over_kill_9(tmp_path: Path, note: Note) -> None:
    workers = Workers("flows")
    async with world(tmp_path, {}) as mesh:
        host = Host([workers.agent], target=mesh.processes.address("mesh"), name="flows")
        async with running(host), open_channel(mesh.processes.address("mesh")) as channel:
            flow = Flows(WorkflowServiceStub(channel), EngineKind.ENGINE_KIND_LOCAL)
            await flow.register("say", step("a", "test.say", input={"text": "tick"}))
            spec = each_run(EVERY_MS, "say")
            spec.overlap = ALLOW
            await create(mesh.stub, "flow", spec)
            for _ in range(3):
                wanted = workers.ran["tick"] + random.randint(*TICKS_BETWEEN)
                await until(lambda: workers.ran["tick"] >= wanted, FOUND_SECONDS, "more runs")  # noqa: B023
                await mesh.processes.kill()
                await mesh.processes.start()
            await pause(mesh.stub, "flow")
            ticks = await history(mesh.stub, "flow")
            assert gaps(await get(mesh.stub, "flow"), ticks) == []
            assert {tick.outcome for tick in ticks} == {STARTED}
            for tick in ticks:
                await flow.end(tick.target_id)
            reply = await flow.stub.ListRuns(ListRunsRequest(page_size=1000))
            assert {run.id for run in reply.runs} == {tick.target_id for tick in ticks}
            note(f"{len(ticks)} runs, 3 kills, {workers.ran.total() - len(ticks)} reruns of steps")
