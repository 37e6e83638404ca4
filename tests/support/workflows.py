"""Workflows for tests: agents whose work the tests see, and calls on the bare service."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from muster.agent import Agent, Failed
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.payload_pb2 import Payload
from muster.v1.workflow_pb2 import Step, Workflow
from muster.v1.workflow_run_pb2 import (
    RUN_STATE_CANCELLED,
    RUN_STATE_FAILED,
    RUN_STATE_SUCCEEDED,
    EngineKind,
    RunEvent,
    StepState,
    WorkflowRun,
)
from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from muster.wire.channel import open_channel
from muster.wire.security import NO_TLS, Security

OVER = (RUN_STATE_SUCCEEDED, RUN_STATE_FAILED, RUN_STATE_CANCELLED)


def payload(value: Any) -> Payload:
    return Payload(json=json.dumps(value))


def step(name: str, capability: str = "", *after: str, **fields: Any) -> Step:
    """A step; `input` as a value."""
    if "input" in fields:
        fields["input"] = json.dumps(fields["input"])
    made = Step(name=name, depends_on=after, **fields)
    if capability:
        made.capability.name = capability
    return made


class Workers:
    """Agents whose work the tests see."""

    def __init__(self, name: str = "worker", window: int = 200) -> None:
        self.agent = agent = Agent(name, kind="test", max_in_flight=window)
        self.ran: Counter[str] = Counter()  # by what was given
        self.undone: list[Any] = []
        self.gate = asyncio.Event()
        self.failing: set[str] = set()

        @agent.capability("test.say")
        async def say(text: str) -> str:
            self.ran[text] += 1
            if text in self.failing:
                raise Failed("TEST", f"{text} is not to be said", permanent=True)
            return text.upper()

        @agent.capability("test.add")
        async def add(numbers: list[int]) -> int:
            self.ran[str(numbers)] += 1
            return sum(numbers)

        @agent.capability("test.list")
        async def list_(count: int) -> dict[str, list[int]]:
            return {"items": list(range(count))}

        @agent.capability("test.hold")
        async def hold(text: str) -> str:
            self.ran[text] += 1
            await self.gate.wait()
            return text

        @agent.capability("test.undo")
        async def undo(what: Any = None) -> None:
            self.undone.append(what)

        @agent.capability("test.fat")
        async def fat(size: int) -> str:
            return "x" * size


class Flows:
    """The service, for one caller."""

    def __init__(self, stub: WorkflowServiceStub, engine: EngineKind.ValueType) -> None:
        self.stub = stub
        self.engine = engine
        self._count = 0

    async def register(self, name: str, *steps: Step, **fields: Any) -> int:
        if "output" in fields:
            fields["output"] = json.dumps(fields["output"])
        workflow = Workflow(name=name, steps=steps, **fields)
        reply = await self.stub.RegisterWorkflow(pb.RegisterWorkflowRequest(workflow=workflow))
        return reply.version.version

    async def start(self, name: str, value: Any = None, start_id: str = "") -> str:
        self._count += 1
        request = pb.StartRunRequest(
            workflow=name,
            start_id=start_id or f"start-{self._count}",
            input=payload(value if value is not None else {}),
            engine=self.engine,
        )
        return (await self.stub.StartRun(request)).run_id

    async def get(self, run_id: str) -> WorkflowRun:
        return (await self.stub.GetRun(pb.GetRunRequest(run_id=run_id, outputs=True))).run

    async def follow(self, run_id: str, after: int = 0) -> AsyncIterator[RunEvent]:
        """The journal, until the run has ended."""
        request = pb.WatchRunsRequest(run_id=run_id, after_sequence=after)
        async for frame in self.stub.WatchRuns(request):
            for event in frame.events:
                yield event
            if frame.HasField("ended"):
                return

    async def end(self, run_id: str, seconds: float = 20.0) -> WorkflowRun:
        """The run, once it has ended."""
        async with asyncio.timeout(seconds):
            async for frame in self.stub.WatchRuns(pb.WatchRunsRequest(run_id=run_id)):
                if frame.HasField("ended"):
                    return frame.ended
        raise AssertionError("the watch ended before the run")

    async def until(self, run_id: str, name: str, *states: str, seconds: float = 20.0) -> None:
        """Waits until a step is in one of these states."""
        wanted = [StepState.Value(f"STEP_STATE_{state}") for state in states]
        async with asyncio.timeout(seconds):
            request = pb.WatchRunsRequest(run_id=run_id)
            async for _ in self.stub.WatchRuns(request):
                run = await self.get(run_id)
                if next(each.state for each in run.steps if each.name == name) in wanted:
                    return


@asynccontextmanager
async def flows(
    target: str, engine: EngineKind.ValueType, security: Security = NO_TLS
) -> AsyncIterator[Flows]:
    async with open_channel(target, security) as channel:
        yield Flows(WorkflowServiceStub(channel), engine)


def output(run: WorkflowRun) -> Any:
    return json.loads(run.output.json)


def states(run: WorkflowRun) -> dict[str, str]:
    return {each.name: StepState.Name(each.state).removeprefix("STEP_STATE_") for each in run.steps}
