"""What only runs on Temporal have: what is seen and done there, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from muster.engine.naming import STATE, workflow_id
from muster.model import limits
from muster.model.errors import FailedPrecondition
from muster.servers.server import ServerProcess
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.workflow_pb2 import Compensation, Wait, WorkflowSelector
from muster.v1.workflow_run_pb2 import (
    ENGINE_KIND_TEMPORAL,
    RUN_STATE_CANCELLED,
    RUN_STATE_FAILED,
    RUN_STATE_SUCCEEDED,
)
from muster.wire.errors import error_of_rpc
from tests.support.engines import engine_worker
from tests.support.meshes import Mesh
from tests.support.processes import until
from tests.support.servers import prepared
from tests.support.workflows import Flows, Workers, flows, output, step

pytestmark = pytest.mark.xdist_group("temporal")


@pytest.fixture
def address(temporal_server: ServerProcess) -> str:
    return temporal_server.server.address


@pytest.fixture
async def flow(mesh: Mesh, address: str, workers: Workers) -> AsyncIterator[Flows]:
    async with (
        engine_worker(address, mesh.scheduler),
        flows(mesh.scheduler, ENGINE_KIND_TEMPORAL) as made,
    ):
        yield made


@pytest.fixture
async def client(address: str) -> Client:
    return await Client.connect(address)


def handle(client: Client, run_id: str) -> WorkflowHandle[object, str]:
    return client.get_workflow_handle(workflow_id(run_id), result_type=str)


async def closed(client: Client, run_id: str) -> WorkflowExecutionStatus | None:
    """How the run's workflow has ended."""
    found = handle(client, run_id)
    with suppress(WorkflowFailureError):
        await found.result()
    return (await found.describe()).status


# --- what is seen there ---------------------------------------------------------------------------


async def test_a_step_costs_a_signal_and_a_workflow_task(flow: Flows, client: Client) -> None:
    chain = (
        step(f"s{n}", "test.say", *([f"s{n - 1}"] if n else []), input={"text": f"{n}"})
        for n in range(10)
    )
    await flow.register("chain", *chain)
    run_id = await flow.start("chain")
    await flow.end(run_id)
    assert await handle(client, run_id).result() == "SUCCEEDED"
    history = await handle(client, run_id).fetch_history()
    signals = [
        event
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    ]
    assert len(signals) == 11  # one starts it
    assert len(history.events) < 80


async def test_a_failed_run_has_failed_there_too_and_is_retried_under_the_same_id(
    flow: Flows, workers: Workers, client: Client
) -> None:
    workers.failing = {"a"}
    await flow.register("failing", step("a", "test.say", input={"text": "a"}))
    run_id = await flow.start("failing")
    assert (await flow.end(run_id)).state == RUN_STATE_FAILED
    with pytest.raises(WorkflowFailureError) as caught:
        await handle(client, run_id).result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "STEP_FAILED"
    assert "step a failed with TEST" in str(caught.value.cause)
    workers.failing = set()
    await flow.stub.RetryRun(pb.RetryRunRequest(run_id=run_id))
    assert (await flow.end(run_id)).state == RUN_STATE_SUCCEEDED
    assert await handle(client, run_id).result() == "SUCCEEDED"


async def test_a_step_that_is_a_run_is_a_child_workflow(
    flow: Flows, workers: Workers, client: Client
) -> None:
    await flow.register("inner", step("say", "test.say", input={"text": "${input.text}"}))
    await flow.register(
        "outer",
        step(
            "inner",
            for_each="['a', 'b', 'c']",
            workflow=WorkflowSelector(name="inner"),
            input={"text": "${item}"},
        ),
    )
    run = await flow.end(await flow.start("outer"))
    assert run.state == RUN_STATE_SUCCEEDED
    for item in run.steps[0].items:
        found = await handle(client, item.run_id).describe()
        assert found.parent_id == workflow_id(run.id)
        assert await closed(client, item.run_id) is WorkflowExecutionStatus.COMPLETED
    assert workers.ran == {"a": 1, "b": 1, "c": 1}


async def test_the_state_of_a_run_can_be_asked_for_there(
    flow: Flows, workers: Workers, client: Client
) -> None:
    await flow.register(
        "asked",
        step("hold", "test.hold", for_each="[1, 2]", input={"text": "h"}),
        step("a", "test.say", "hold", input={"text": "a"}),
    )
    run_id = await flow.start("asked")
    await flow.until(run_id, "hold", "RUNNING")
    state = await handle(client, run_id).query(STATE)
    assert state["steps"] == {"hold": "RUNNING", "a": "PENDING"}
    assert state["items"] == {"hold": [0, 1]}
    workers.gate.set()
    await flow.end(run_id)


# --- what is done there ---------------------------------------------------------------------------


async def test_a_cancel_there_cancels_the_run(
    flow: Flows, workers: Workers, client: Client
) -> None:
    undo = Compensation()
    undo.capability.name = "test.undo"
    await flow.register(
        "cancelled",
        step("a", "test.say", input={"text": "a"}, compensate=undo),
        step("hold", "test.hold", "a", input={"text": "h"}),
    )
    run_id = await flow.start("cancelled")
    await flow.until(run_id, "hold", "RUNNING")
    await handle(client, run_id).cancel()
    run = await flow.end(run_id)
    assert run.state == RUN_STATE_CANCELLED
    assert run.failure.code == "CANCELLED"
    assert len(workers.undone) == 1
    with pytest.raises(WorkflowFailureError) as caught:
        await handle(client, run_id).result()
    assert isinstance(caught.value.cause, CancelledError)


async def test_a_workflow_that_was_terminated_there_is_begun_anew(
    flow: Flows, client: Client, monkeypatch: pytest.MonkeyPatch, mesh: Mesh, address: str
) -> None:
    monkeypatch.setattr(limits, "ENGINE_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(limits, "ENGINE_LISTED_SECONDS", 0.5)
    await flow.register("ended", step("go", wait=Wait(signal="go")), output="${steps.go.output}")
    run_id = await flow.start("ended")
    await flow.until(run_id, "go", "WAITING")
    found = handle(client, run_id)
    first = (await found.describe()).run_id
    async with engine_worker(address, mesh.scheduler, name="another"):
        await found.terminate("by mistake")

        async def is_back() -> bool:
            now = await found.describe()
            return now.run_id != first and now.status is WorkflowExecutionStatus.RUNNING

        await until(is_back, 20, "the run's workflow runs again")
    await flow.stub.SignalRun(pb.SignalRunRequest(run_id=run_id, name="go"))
    assert (await flow.end(run_id)).state == RUN_STATE_SUCCEEDED


# --- long ones ------------------------------------------------------------------------------------


async def test_a_long_history_is_continued_in_a_new_one(
    mesh: Mesh, workers: Workers, tmp_path: Path
) -> None:
    server = prepared("temporal", tmp_path)
    told = ("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=30")
    async with (
        ServerProcess(replace(server, words=(*server.words, *told))) as process,
        engine_worker(process.server.address, mesh.scheduler),
        flows(mesh.scheduler, ENGINE_KIND_TEMPORAL) as flow,
    ):
        await flow.register("inner", step("hold", "test.hold", input={"text": "h"}))
        chain = (
            step(f"s{n}", "test.say", *([f"s{n - 1}"] if n else []), input={"text": f"{n}"})
            for n in range(20)
        )
        child = step("child", workflow=WorkflowSelector(name="inner"))
        last = step("last", "test.say", "s19", "child", input={"text": "last"})
        await flow.register("long", child, *chain, last, output="${steps.last.output}")
        run_id = await flow.start("long")
        await flow.until(run_id, "s19", "SUCCEEDED")
        workers.gate.set()
        run = await flow.end(run_id)
        assert output(run) == "LAST"
        assert workers.ran == {str(n): 1 for n in range(20)} | {"last": 1, "h": 1}
        client = await Client.connect(process.server.address)
        first = (await handle(client, run_id).describe()).raw_info.first_run_id
        begun = client.get_workflow_handle(workflow_id(run_id), run_id=first)
        status = (await begun.describe()).status
        assert status is WorkflowExecutionStatus.CONTINUED_AS_NEW


async def test_many_items_are_told_in_few_signals(
    flow: Flows, workers: Workers, client: Client
) -> None:
    await flow.register(
        "many",
        step("list", "test.list", input={"count": 600}),
        step(
            "say",
            "test.say",
            "list",
            for_each="steps.list.output.items",
            concurrency=600,
            input={"text": "item ${item}"},
        ),
        output="${size(steps.say.output)}",
    )
    run_id = await flow.start("many")
    assert output(await flow.end(run_id, 60)) == 600
    assert sum(workers.ran.values()) == 600
    history = await handle(client, run_id).fetch_history()
    assert len(history.events) < 300


# --- who is there ---------------------------------------------------------------------------------


async def test_several_workers_share_the_runs(
    flow: Flows, workers: Workers, mesh: Mesh, address: str
) -> None:
    await flow.register(
        "shared",
        step("a", "test.say", input={"text": "${input.n}"}),
        step("b", "test.say", "a", input={"text": "${input.n}"}),
    )
    async with engine_worker(address, mesh.scheduler, name="another"):
        starts = (flow.start("shared", {"n": f"{n}"}) for n in range(20))
        runs = await asyncio.gather(*starts)
        ended = await asyncio.gather(*(flow.end(run_id) for run_id in runs))
    assert {run.state for run in ended} == {RUN_STATE_SUCCEEDED}
    assert workers.ran == {f"{n}": 2 for n in range(20)}


async def test_a_mesh_without_temporal_refuses_runs_for_it(mesh: Mesh, workers: Workers) -> None:
    async with flows(mesh.scheduler, ENGINE_KIND_TEMPORAL) as flow:
        await flow.register("refused", step("a", "test.say", input={"text": "a"}))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await flow.start("refused")
    error = error_of_rpc(caught.value)
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "ENGINE_MISSING"
    assert "muster up --with temporal" in error.message
