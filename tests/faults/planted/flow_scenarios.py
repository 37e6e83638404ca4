"""What brings bugs in workflow runs to light, and does a mesh without bugs no harm."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from muster.agent import Agent, Context, Failed, Host
from muster.v1 import workflow_service_pb2 as pb
from muster.workflow.source import read_workflow
from tests.faults.planted.stage import Stage
from tests.support.history import Execution
from tests.support.history.records_runs import RunAccepted, RunAsked
from tests.support.meshes import running
from tests.support.processes import until
from tests.support.recording_runs import RunRecorder

ACKNOWLEDGED_SECONDS = 1.0  # in which a start is not acknowledged that cannot be committed
SEEN_SECONDS = 10.0

HELD = """
name: planted_held
steps:
  - name: held
    capability: planted.held
    input: {text: a}
"""

SAGA = """
name: planted_saga
steps:
  - name: one
    capability: planted.work
    input: {text: one}
    compensate: {capability: planted.work, input: {text: undo one}}
  - name: two
    depends_on: [one]
    capability: planted.work
    input: {text: two}
    compensate: {capability: planted.work, input: {text: undo two}}
  - name: other
    depends_on: [one]
    capability: planted.held
    input: {text: other}
  - name: bad
    depends_on: [two]
    capability: planted.fail
    input: {text: bad}
"""

JOIN = """
name: planted_join
steps:
  - name: soon
    capability: planted.work
    input: {text: soon}
  - name: late
    capability: planted.work
    input: {text: late, ms: 300}
  - name: join
    depends_on: [soon, late]
    capability: planted.work
    input: {text: join}
"""


@dataclass
class FlowStage:
    """A stage on which runs play."""

    stage: Stage
    runs: RunRecorder
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, text: str, name: str) -> None:
        """One run of a workflow, from its registration to its end."""
        run_id = await self.start(text, name)
        await self.runs.follow(run_id)

    async def start(self, text: str, name: str) -> str:
        """Starts a run; returns its id."""
        workflow = read_workflow(text).workflow
        await self.runs.register(workflow)
        return await self.runs.start(workflow.name, name, {}, name)


Scenario = Callable[[FlowStage], Awaitable[None]]


async def the_mesh_dies_while_a_step_runs(on: FlowStage) -> None:
    """A step's contract is being worked on when the mesh dies."""
    history = on.stage.history
    run_id = await on.start(HELD, "held")
    await until(lambda: bool(history.executions), SEEN_SECONDS, "the step runs")
    await on.stage.restart()
    on.gate.set()
    await on.runs.follow(run_id)


async def the_mesh_dies_after_a_start(on: FlowStage) -> None:
    """The disk takes nothing, a run is started, and the mesh dies; it is started once more."""
    workflow = read_workflow(JOIN).workflow
    await on.run(JOIN, "before")
    on.stage.stall()
    on.runs.note(RunAsked("early", workflow.name, "early"))
    request = pb.StartRunRequest(workflow=workflow.name, start_id="early")
    try:
        reply = await on.runs.flows.StartRun(request, timeout=ACKNOWLEDGED_SECONDS)
    except grpc.aio.AioRpcError:
        pass  # nobody knows what became of it
    else:
        on.runs.note(RunAccepted("early", reply.run_id))
    await on.stage.restart()
    run_id = await on.runs.start(workflow.name, "early", {}, "early")
    await on.runs.follow(run_id)


async def a_step_fails(on: FlowStage) -> None:
    """A step fails while another one runs, which is stopped, and two are undone."""
    await on.run(SAGA, "saga")


async def two_branches_join(on: FlowStage) -> None:
    """One of two steps that a third depends on takes longer."""
    await on.run(JOIN, "join")


@asynccontextmanager
async def flow_stage(stage: Stage, runs: RunRecorder) -> AsyncIterator[FlowStage]:
    """A stage with an agent that writes down what it executes."""
    made = FlowStage(stage, runs)
    agent = Agent("planted", kind="planted", max_in_flight=10)

    def executes(ctx: Context) -> str:
        nonce = secrets.token_hex(8)
        note = Execution(ctx.contract_id, ctx.facts.epoch, nonce, "planted", "planted")
        stage.recorder.note(note)
        return nonce

    @agent.capability("planted.work")
    async def work(text: str, ms: int = 0, *, ctx: Context) -> dict[str, str]:
        nonce = executes(ctx)
        await asyncio.sleep(ms / 1000)
        return {"text": text, "nonce": nonce}

    @agent.capability("planted.held")
    async def held(text: str, *, ctx: Context) -> dict[str, str]:
        nonce = executes(ctx)
        await made.gate.wait()
        return {"text": text, "nonce": nonce}

    @agent.capability("planted.fail")
    async def fail(text: str, *, ctx: Context) -> None:
        executes(ctx)
        raise Failed("PLANTED", text, permanent=True)

    target = stage.mesh.address("mesh")
    host = Host([agent], target=target, name="planted", leave_seconds=1.0)
    async with running(host):
        yield made
