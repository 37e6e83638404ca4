"""Workflows: a hundred at once of ten steps each, beside Temporal's own of one activity each."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import grpc

from benchmarks.bench import Bench
from benchmarks.drivers import PeerMissing, prepare, run_peer
from benchmarks.figures import percentile
from benchmarks.load import TEXT, Costs
from benchmarks.meshes import environment_of, mesh
from benchmarks.processes import executing, free_port, running, wait_until_serving
from muster.agent import Client, connect
from muster.servers.finding import PROGRAMS
from muster.servers.server import ServerMissing
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.workflow_pb2 import Workflow
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, RUN_STATE_SUCCEEDED
from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from muster.wire.channel import open_channel

KEYS = ("workflows", "workflow-start", "workflows-temporal")
RUNS = 100
STEPS = 10
NAME = "bench.chain"
TEMPORAL = "BENCH_TEMPORAL"  # tells the peer's driver where the server's program is
Start = Callable[[str], Awaitable[str]]  # with a start_id; returns the run's id
PAUSE_SECONDS = 0.02  # between two starts, where they are not all at once


@dataclass
class Round:
    """What became of some runs."""

    seconds: float = 0.0  # from the first start to the last end
    starts: list[float] = field(default_factory=list)  # how long each call took, in seconds

    @property
    def steps_per_second(self) -> float:
        """Of all runs together."""
        return RUNS * STEPS / self.seconds


async def measure(bench: Bench) -> None:
    """Every round: the mesh's runs, then the peer's."""
    peer = _peer(bench)
    async with (
        mesh(bench.new_folder()) as made,
        open_channel(made.target) as channel,
        connect(made.target) as client,
    ):
        stub = WorkflowServiceStub(channel)
        await stub.RegisterWorkflow(pb.RegisterWorkflowRequest(workflow=chain()))
        await many(stub, by_client(client))  # does not count
        for number in range(bench.rounds):
            bench.say(f"workflows, round {number + 1} of {bench.rounds}")
            costs = Costs({"mesh": made.mesh.pid})
            load = await many(stub, by_client(client))
            used = costs.microseconds(RUNS * STEPS)["mesh"]
            bench.note("workflows", "steps/s", load.steps_per_second)
            bench.note("workflows", "CPU of a step, mesh (µs)", used)
            bench.add("workflow-start", "p99", percentile(load.starts, 0.99) * 1e3)
            bare = await many(stub, by_calls(stub))
            bench.note(
                "workflow-start", "by bare calls, p99 (ms)", percentile(bare.starts, 0.99) * 1e3
            )
            paced = await many(stub, by_calls(stub), PAUSE_SECONDS)
            bench.note(
                "workflow-start", "one every 20 ms, p99 (ms)", percentile(paced.starts, 0.99) * 1e3
            )
            if peer:
                answer = await run_peer("temporal", bench.new_folder(), bench.seconds, RUNS)
                rate = float(answer["per_second"])
                bench.add("workflows", "ratio", load.steps_per_second / rate)
                bench.note("workflows", "Temporal, one-activity workflows/s", rate)
                p99 = float(answer["start_p99_ms"])
                bench.note("workflow-start", "Temporal, 100 in flight, p99 (ms)", p99)

        if bench.wants("workflows-temporal"):
            bench.say("workflows on Temporal")
            await _on_temporal(bench, made.target, stub, by_client(client, "temporal"))


async def _on_temporal(bench: Bench, target: str, stub: WorkflowServiceStub, start: Start) -> None:
    """The same runs on the other engine, once: Temporal's development server takes its time."""
    try:
        program = str(PROGRAMS["temporal"].find())
    except ServerMissing as reason:
        bench.skip("workflows-temporal", str(reason))
        return
    folder, port, own = bench.new_folder(), free_port(), free_port()
    command = (
        *(program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)),
        *("--log-level", "error", "--db-filename", str(folder / "temporal.db")),
    )
    environment = {
        **environment_of(folder, own),
        "MUSTER_NAME": "engine-bench",
        "MUSTER_TEMPORAL": f"127.0.0.1:{port}",
        "MUSTER_SCHEDULER_TARGETS": target,
    }
    async with (
        executing("temporal", *command),
        running("engine", "-m", "muster.engine", environment=environment),
    ):
        await wait_until_serving(f"127.0.0.1:{own}")
        load = await many(stub, start)
    bench.add("workflows-temporal", "steps/s", load.steps_per_second)
    bench.add("workflows-temporal", "start p99", percentile(load.starts, 0.99) * 1e3)


def _peer(bench: Bench) -> bool:
    """Whether there is one; where not, the row says why."""
    if not bench.wants("workflows"):
        return False
    try:
        os.environ[TEMPORAL] = str(PROGRAMS["temporal"].find())
        prepare()
    except (PeerMissing, ServerMissing) as reason:
        bench.skip("workflows", str(reason))
        return False
    return True


def chain() -> Workflow:
    """Steps that each need the one before."""
    workflow = Workflow(name=NAME, output='"${steps.s9.output}"')
    for number in range(STEPS):
        step = workflow.steps.add(name=f"s{number}")
        step.capability.name = "bench.echo"
        before = f"steps.s{number - 1}.output" if number else "input.text"
        step.input = json.dumps({"text": f"${{{before}}}"})
        if number:
            step.depends_on.append(f"s{number - 1}")
    return workflow


def by_client(client: Client, engine: Literal["local", "temporal"] = "local") -> Start:
    """As programs do."""

    async def start(start_id: str) -> str:
        given = {"text": TEXT}
        return (await client.workflows.start(NAME, given, start_id=start_id, engine=engine)).id

    return start


def by_calls(stub: WorkflowServiceStub) -> Start:
    """A call for each, on the bare stub."""

    async def start(start_id: str) -> str:
        request = pb.StartRunRequest(workflow=NAME, start_id=start_id, engine=ENGINE_KIND_LOCAL)
        request.input.json = json.dumps({"text": TEXT})
        return (await stub.StartRun(request)).run_id

    return start


async def many(stub: WorkflowServiceStub, start: Start, pause: float = 0.0) -> Round:
    """Start them, all at once or one after each pause, and wait until all have ended."""
    done: Round = Round()
    watch = stub.WatchRuns(pb.WatchRunsRequest())
    assert await watch.read() is not grpc.aio.EOF
    began = time.perf_counter()
    prefix = f"{time.time_ns()}"

    async def start_one(number: int) -> str:
        await asyncio.sleep(number * pause)
        asked = time.perf_counter()
        run_id = await start(f"{prefix}-{number}")
        done.starts.append(time.perf_counter() - asked)
        return run_id

    async def ends() -> set[str]:
        ended: set[str] = set()
        while len(ended) < RUNS:
            frame = await watch.read()
            assert isinstance(frame, pb.WatchRunsResponse)
            for event in frame.events:
                if event.HasField("ended"):
                    assert event.ended.state == RUN_STATE_SUCCEEDED, event
                    ended.add(event.run_id)
        return ended

    async with asyncio.TaskGroup() as tasks:
        ended = tasks.create_task(ends())
        starts = [tasks.create_task(start_one(number)) for number in range(RUNS)]
    done.seconds = time.perf_counter() - began
    assert {each.result() for each in starts} == ended.result()
    watch.cancel()
    return done
