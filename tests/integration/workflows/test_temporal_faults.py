"""What becomes of runs on Temporal when something is killed, or Temporal loses what it had."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from muster.agent import Host
from muster.engine.naming import workflow_id
from muster.servers.server import ServerProcess
from muster.v1.workflow_pb2 import Wait
from muster.v1.workflow_run_pb2 import (
    ENGINE_KIND_TEMPORAL,
    RUN_STATE_SUCCEEDED,
    STEP_STATE_SUCCEEDED,
    WorkflowRun,
)
from muster.v1.workflow_service_pb2 import SignalRunRequest
from muster.wire.times import duration_of_seconds
from tests.support.meshes import running
from tests.support.processes import Machine, MeshProcesses, Process, free_port, machine, until
from tests.support.workflows import Flows, Workers, flows, step

pytestmark = [pytest.mark.xdist_group("temporal"), pytest.mark.timeout(180)]

STEPS = 6
LOST_SECONDS = 60.0


@dataclass
class Stage:
    """A mesh, Temporal, and workers of the engine, each a process."""

    mesh: MeshProcesses
    temporal: ServerProcess
    machine: Machine
    flow: Flows
    workers: Workers

    async def engine(self, name: str) -> Process:
        """Start a worker; returns when it works."""
        port = free_port()
        told = {
            "MUSTER_GRPC_PORT": str(port),
            "MUSTER_HTTP_PORT": "none",
            "MUSTER_NAME": name,
            "MUSTER_TEMPORAL": self.temporal.server.address,
            "MUSTER_SCHEDULER_TARGETS": self.mesh.address("scheduler"),
        }
        process = await self.machine.start(name, "-m", "muster.engine", environment=told)
        await process.serving(f"127.0.0.1:{port}")
        return process

    async def start(self, count: int) -> list[str]:
        """Starts runs of several steps."""
        chain = (
            step(
                f"s{n}",
                "test.say",
                *([f"s{n - 1}"] if n else []),
                input={"text": f"${{input.run}}-{n}"},
            )
            for n in range(STEPS)
        )
        await self.flow.register("chain", *chain)
        starts = (self.flow.start("chain", {"run": number}) for number in range(count))
        return await asyncio.gather(*starts)

    async def begin(self, count: int) -> list[str]:
        """Starts runs of several steps; returns when they are under way."""
        runs = await self.start(count)
        await until(lambda: len(self.workers.ran) > count, LOST_SECONDS, "the runs are under way")
        return runs

    async def end(self, runs: list[str]) -> list[WorkflowRun]:
        """Every run, once it has ended, with each step done once."""
        ended = await asyncio.gather(*(self.flow.end(run, LOST_SECONDS) for run in runs))
        assert [run.state for run in ended] == [RUN_STATE_SUCCEEDED] * len(runs), ended
        expected = {f"{number}-{n}": 1 for number in range(len(runs)) for n in range(STEPS)}
        assert self.workers.ran == expected
        return ended

    async def wait(self, name: str, *more: str) -> str:
        """Starts a run that waits for a signal; returns when it does."""
        await self.flow.register(
            name,
            step("go", wait=Wait(signal="go")),
            step("say", "test.say", "go", input={"text": name}),
        )
        run = await self.flow.start(name)
        await self.flow.until(run, "go", "WAITING")
        return run

    async def signal(self, run: str) -> None:
        """What such a run waits for."""
        await self.flow.stub.SignalRun(SignalRunRequest(run_id=run, name="go"))

    async def client(self) -> Client:
        return await Client.connect(self.temporal.server.address)

    async def is_running(self, run: str) -> bool:
        """Whether Temporal has the run's workflow."""
        try:
            found = await (await self.client()).get_workflow_handle(workflow_id(run)).describe()
        except (RPCError, RuntimeError):
            return False
        return found.status is WorkflowExecutionStatus.RUNNING


@pytest.fixture
async def stage(temporal_process: ServerProcess, tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(machine(tmp_path))
        told = {"MUSTER_TEMPORAL": temporal_process.server.address}
        mesh = MeshProcesses(own, "all-in-one", tmp_path / "mesh", told)
        await mesh.start()
        workers = Workers()
        host = Host([workers.agent], target=mesh.address("executor"), name="h", leave_seconds=1.0)
        await stack.enter_async_context(running(host))
        flow = await stack.enter_async_context(
            flows(mesh.address("scheduler"), ENGINE_KIND_TEMPORAL)
        )
        yield Stage(mesh, temporal_process, own, flow, workers)


async def test_a_killed_worker_s_runs_go_on_with_another_one(stage: Stage) -> None:
    first = await stage.engine("first")
    await stage.engine("second")
    runs = await stage.begin(10)
    await first.kill()
    await stage.end(runs)


async def test_runs_wait_for_a_worker_and_go_on_when_the_only_one_was_killed(
    stage: Stage,
) -> None:
    (run,) = await stage.start(1)
    only = await stage.engine("only")
    await stage.flow.until(run, "s0", "SUCCEEDED", seconds=LOST_SECONDS)
    await only.kill()
    await stage.engine("only")
    await stage.end([run])


async def test_temporal_may_be_killed_and_come_back(stage: Stage) -> None:
    await stage.engine("worker")
    waiting = await stage.wait("waiting")
    runs = await stage.begin(5)
    await stage.temporal.kill()
    # What agents do meanwhile is recorded; what a run waits for is delivered when it can be.
    await stage.signal(waiting)
    await stage.temporal.start()
    assert (await stage.flow.end(waiting, LOST_SECONDS)).state == RUN_STATE_SUCCEEDED
    assert stage.workers.ran.pop("waiting") == 1
    await stage.end(runs)


async def test_what_temporal_has_lost_is_begun_anew_from_the_ledger(stage: Stage) -> None:
    await stage.engine("worker")
    waiting = await stage.wait("waiting")
    timer = step("pause", wait=Wait(duration=duration_of_seconds(4)))
    await stage.flow.register("pausing", timer)
    pausing = await stage.flow.start("pausing")
    await stage.flow.until(pausing, "pause", "WAITING")
    runs = await stage.begin(5)
    await stage.temporal.kill()
    for left in stage.temporal.server.folder.iterdir():
        left.unlink() if left.is_file() else shutil.rmtree(left)
    await stage.temporal.start()
    # Nothing is said to these two, and they are there all the same.
    await until(lambda: stage.is_running(waiting), LOST_SECONDS, "the run is in Temporal again")
    run = await stage.flow.end(pausing, LOST_SECONDS)
    assert run.steps[0].state == STEP_STATE_SUCCEEDED
    await stage.signal(waiting)
    assert (await stage.flow.end(waiting, LOST_SECONDS)).state == RUN_STATE_SUCCEEDED
    assert stage.workers.ran.pop("waiting") == 1
    await stage.end(runs)


async def test_a_killed_scheduler_s_runs_go_on_when_it_is_back(stage: Stage) -> None:
    await stage.engine("worker")
    waiting = await stage.wait("waiting")
    runs = await stage.begin(5)
    await stage.mesh.kill()
    await stage.mesh.start()
    await stage.signal(waiting)
    assert (await stage.flow.end(waiting, LOST_SECONDS)).state == RUN_STATE_SUCCEEDED
    assert stage.workers.ran.pop("waiting") == 1
    ended = await asyncio.gather(*(stage.flow.end(run, LOST_SECONDS) for run in runs))
    assert {run.state for run in ended} == {RUN_STATE_SUCCEEDED}


async def test_a_killed_scheduler_s_runs_go_on_with_the_one_that_takes_its_shards(
    temporal_process: ServerProcess, postgres_url: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(machine(tmp_path))
        told = {
            "MUSTER_TEMPORAL": temporal_process.server.address,
            "MUSTER_LEDGER": postgres_url,
        }
        mesh = MeshProcesses(own, "replicas", tmp_path / "mesh", told)
        await mesh.start()
        workers = Workers()
        host = Host([workers.agent], target=mesh.address("executor"), name="h", leave_seconds=1.0)
        await stack.enter_async_context(running(host))
        survivor = mesh.address("scheduler-2")
        flow = await stack.enter_async_context(flows(survivor, ENGINE_KIND_TEMPORAL))
        stage = Stage(mesh, temporal_process, own, flow, workers)
        await stage.engine("one")
        await stage.engine("other")
        waiting = [await stage.wait(f"waiting{number}") for number in range(4)]
        runs = await stage.begin(6)
        await mesh.kill("scheduler-1")
        for run in (*runs, *waiting):

            async def is_here(run: str = run) -> bool:
                try:
                    await flow.get(run)
                except grpc.aio.AioRpcError:
                    return False
                return True

            await until(is_here, LOST_SECONDS, "the run's shard is owned again")
        for run in waiting:
            await stage.signal(run)
        ended = await asyncio.gather(*(flow.end(run, LOST_SECONDS) for run in (*runs, *waiting)))
        assert {run.state for run in ended} == {RUN_STATE_SUCCEEDED}
