"""Runs of workflows in traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.v1.workflow_pb2 import Workflow, WorkflowSelector
from muster.v1.workflow_service_pb2 import (
    RegisterWorkflowRequest,
    StartRunRequest,
    WatchRunsRequest,
)
from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from muster.wire.channel import open_channel
from tests.support.otlp import receiver
from tests.support.traced_meshes import mesh_of
from tests.support.workflows import step

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.timeout(120)]


async def test_a_run_its_steps_and_the_runs_within_it_are_one_tree(
    tmp_path: Path,
) -> None:
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    inner = Workflow(name="inner", steps=[step("say", "traced.echo", input={"text": "x"})])
    outer = Workflow(
        name="outer",
        steps=[
            step("say", "traced.echo", input={"text": "y"}),
            step("within", "", "say", workflow=WorkflowSelector(name="inner")),
            step("fail", "traced.fail", "within"),
        ],
    )
    async with receiver() as spans, mesh_of("all-in-one", tmp_path, spans) as traced:
        async with open_channel(traced.mesh.address("scheduler")) as channel:
            stub = WorkflowServiceStub(channel)
            for workflow in (inner, outer):
                await stub.RegisterWorkflow(RegisterWorkflowRequest(workflow=workflow))
            start = StartRunRequest(workflow="outer", start_id="one")
            started = await stub.StartRun(start, metadata=(("traceparent", caller),))
            async for frame in stub.WatchRuns(WatchRunsRequest(run_id=started.run_id)):
                if frame.HasField("ended"):
                    break
        await spans.has(contract=3, workflow=2, **{"/muster.v1.WorkflowService/StartRun": 1})
    (call,) = (span for span in spans.spans if span.name.endswith("/StartRun"))
    by_workflow = {span.attributes["muster.workflow"]: span for span in spans.named("workflow")}
    whole, within = by_workflow["outer"], by_workflow["inner"]
    assert (call.parent_id, whole.parent_id) == (caller.split("-")[2], call.span_id)
    assert within.parent_id == whole.span_id
    parents = [contract.parent_id for contract in spans.named("contract")]
    assert sorted(parents) == sorted([whole.span_id, whole.span_id, within.span_id])
    assert whole.attributes["muster.run_id"] == started.run_id
    assert (whole.attributes["muster.state"], whole.error) == ("FAILED", "STEP_FAILED")
    assert (within.attributes["muster.state"], within.error) == ("SUCCEEDED", "")
    assert {span.trace_id for span in (call, whole, within, *spans.named("contract"))} == {
        caller.split("-")[1]
    }
