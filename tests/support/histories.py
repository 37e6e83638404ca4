"""Histories of runs in Temporal, as they are replayed in tests/unit/engine.

    python -m tests.support.histories        records all of them anew

A run that is under way when a worker is replaced must go on with the new one. So what is recorded
stays as it is, and is replayed with every later version; record anew only when runs may be begun
anew, which a worker does where a history does not fit (see `muster.engine.part`).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client, WorkflowHistory

from muster.engine.naming import workflow_id
from muster.servers.server import ServerProcess
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.workflow_pb2 import Compensation, FanIn, Wait, WorkflowSelector
from muster.v1.workflow_run_pb2 import ENGINE_KIND_TEMPORAL
from muster.wire.times import duration_of_seconds
from tests.support.engines import engine_worker
from tests.support.meshes import all_in_one
from tests.support.processes import until
from tests.support.servers import prepared
from tests.support.workflows import Flows, Workers, flows, step

FOLDER = Path(__file__).parents[1] / "unit" / "engine" / "histories"


class Scene:
    """What a history is recorded in."""

    def __init__(self, flow: Flows, workers: Workers, client: Client) -> None:
        self.flow = flow
        self.workers = workers
        self.client = client

    async def start(self, name: str, state: str = "", of: str = "") -> str:
        """Starts a run; returns when a step of it is in a state, if one is named."""
        run_id = await self.flow.start(name)
        if state:
            await self.flow.until(run_id, of, state)
        return run_id

    async def signal(self, run_id: str) -> None:
        await self.flow.stub.SignalRun(pb.SignalRunRequest(run_id=run_id, name="go"))

    async def history(self, run_id: str) -> WorkflowHistory:
        """What Temporal has of a run, once that has ended."""
        await self.flow.end(run_id)
        handle = self.client.get_workflow_handle(workflow_id(run_id))

        async def is_closed() -> bool:
            return (await handle.describe()).close_time is not None

        await until(is_closed, 20, "the workflow is closed")
        return await handle.fetch_history()


Shape = Callable[[Scene], Awaitable[str]]


async def chain(scene: Scene) -> str:
    """Steps one after the other, one of which is skipped."""
    await scene.flow.register(
        "chain",
        step("a", "test.say", input={"text": "a"}),
        step("b", "test.say", "a", when="false", input={"text": "b"}),
        step("c", "test.say", "a", "b", input={"text": "c"}),
        output="${steps.c.output}",
    )
    return await scene.start("chain")


async def fan_out(scene: Scene) -> str:
    """Items, a few at a time, of which one may fail."""
    scene.workers.failing = {"3"}
    await scene.flow.register(
        "fan",
        step(
            "each",
            "test.say",
            for_each="['1', '2', '3', '4', '5']",
            concurrency=2,
            fan_in=FanIn(tolerate=1),
            input={"text": "${item}"},
        ),
        step("last", "test.say", "each", input={"text": "${size(steps.each.output)}!"}),
    )
    return await scene.start("fan")


async def compensation(scene: Scene) -> str:
    """A failure, after which what was done is undone and what is being done is stopped."""
    undo = Compensation()
    undo.capability.name = "test.undo"
    scene.workers.failing = {"c"}
    await scene.flow.register(
        "saga",
        step("a", "test.say", input={"text": "a"}, compensate=undo),
        step("b", "test.say", "a", input={"text": "b"}, compensate=undo),
        step("held", "test.hold", "b", input={"text": "h"}),
        step("c", "test.say", "b", input={"text": "c"}),
    )
    return await scene.start("saga")


async def children(scene: Scene) -> str:
    """Steps that are runs."""
    await scene.flow.register("inner", step("say", "test.say", input={"text": "${input.text}"}))
    await scene.flow.register(
        "outer",
        step(
            "inner",
            for_each="['x', 'y']",
            workflow=WorkflowSelector(name="inner"),
            input={"text": "${item}"},
        ),
    )
    return await scene.start("outer")


async def retry(scene: Scene) -> str:
    """A run that failed, and is tried again: the second of its workflows."""
    scene.workers.failing = {"1"}
    await scene.flow.register(
        "retried",
        step("a", "test.say", for_each="['0', '1']", input={"text": "${item}"}),
        step("b", "test.say", "a", input={"text": "b"}),
    )
    run_id = await scene.start("retried")
    await scene.flow.end(run_id)
    scene.workers.failing = set()
    await scene.flow.stub.RetryRun(pb.RetryRunRequest(run_id=run_id))
    return run_id


async def signal_and_timer(scene: Scene) -> str:
    """A wait for time, one for a signal that comes, and one for a signal that does not."""
    await scene.flow.register(
        "waits",
        step("pause", wait=Wait(duration=duration_of_seconds(0.3))),
        step("go", "", "pause", wait=Wait(signal="go")),
        step("never", "", "go", wait=Wait(signal="never"), timeout=duration_of_seconds(0.2)),
    )
    run_id = await scene.start("waits", "WAITING", "go")
    await scene.signal(run_id)
    return run_id


async def cancel_there(scene: Scene) -> str:
    """Somebody cancels the workflow in Temporal."""
    await scene.flow.register("cancelled", step("go", wait=Wait(signal="go")))
    run_id = await scene.start("cancelled", "WAITING", "go")
    await scene.client.get_workflow_handle(workflow_id(run_id)).cancel()
    return run_id


async def pause_and_cancel(scene: Scene) -> str:
    """A run is paused, resumed, and cancelled, by calls to the mesh."""
    await scene.flow.register(
        "paused",
        step("go", wait=Wait(signal="go")),
        step("hold", "test.hold", "go", input={"text": "h"}),
    )
    run_id = await scene.start("paused", "WAITING", "go")
    await scene.flow.stub.PauseRun(pb.PauseRunRequest(run_id=run_id))
    await scene.signal(run_id)
    await scene.flow.until(run_id, "go", "SUCCEEDED")
    await scene.flow.stub.ResumeRun(pb.ResumeRunRequest(run_id=run_id))
    await scene.flow.until(run_id, "hold", "RUNNING")
    await scene.flow.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
    return run_id


SHAPES: dict[str, Shape] = {
    shape.__name__: shape
    for shape in (
        chain,
        fan_out,
        compensation,
        children,
        retry,
        signal_and_timer,
        cancel_there,
        pause_and_cancel,
    )
}


@asynccontextmanager
async def scenes(folder: Path) -> AsyncIterator[Callable[[], Awaitable[Scene]]]:
    """Makes scenes, each with agents that have done nothing yet."""
    async with (
        ServerProcess(prepared("temporal", folder)) as temporal,
        all_in_one(folder / "mesh") as mesh,
        engine_worker(temporal.server.address, mesh.scheduler),
        flows(mesh.scheduler, ENGINE_KIND_TEMPORAL) as flow,
    ):
        workers = Workers()
        client = await Client.connect(temporal.server.address, identity="recorder")
        async with mesh.host(workers.agent):

            async def make() -> Scene:
                workers.failing = set()
                return Scene(flow, workers, client)

            yield make


async def record() -> None:
    """Records every shape."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with scenes(Path(folder)) as make:
            for name, shape in SHAPES.items():
                scene = await make()
                history = await scene.history(await shape(scene))
                text = json.dumps(json.loads(history.to_json()), indent=1, sort_keys=True)
                (FOLDER / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    asyncio.run(record())
