"""Things of every kind that a tenant has, by the fields of requests that name them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from hashlib import sha256

import pytest

from muster.agent import connect
from muster.v1 import registry_service_pb2 as registry
from muster.v1 import workflow_service_pb2 as workflows
from muster.v1 import workflow_service_pb2_grpc as workflows_grpc
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.v1.schedule_service_pb2 import CreateScheduleRequest
from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from muster.v1.workflow_pb2 import Step, Workflow
from muster.wire.channel import open_channel
from muster.wire.security import Security
from tests.support.identities import Pki, environment
from tests.support.meshes import Mesh
from tests.support.scheduled import each_hour

FOREIGN = "0000000000000001"  # an id that nothing has


def use(monkeypatch: pytest.MonkeyPatch, mesh: Mesh, security: Security) -> None:
    """Makes this the SDK's identity from now on."""
    for name, value in {**mesh.environment(), **environment(security)}.items():
        monkeypatch.setenv(name, value)


async def theirs_of(
    mesh: Mesh, pki: Pki, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[str, str]]:
    """By field: the name of something that the tenant acme has, and one that nobody has."""
    agent = pki.caller("agent", "echo")
    async with open_channel(mesh.registry, agent) as channel:
        registered = await RegistryServiceStub(channel).RegisterAgent(
            registry.RegisterAgentRequest(spec=AgentSpec(name="echo.two", kind="test"))
        )
    use(monkeypatch, mesh, pki.caller("client"))
    client = await stack.enter_async_context(connect())
    handle = await client.submit("demo.say", {"text": "hello"}, request_id="theirs")
    await handle.result()
    async with open_channel(mesh.scheduler, pki.caller("client")) as channel:
        await ScheduleServiceStub(channel).CreateSchedule(
            CreateScheduleRequest(name="echo", spec=each_hour("demo.say", '{"text": "hello"}'))
        )
        flows = workflows_grpc.WorkflowServiceStub(channel)
        workflow = Workflow(name="echo", steps=[Step(name="a", input='{"text": "hello"}')])
        workflow.steps[0].capability.name = "demo.say"
        await flows.RegisterWorkflow(workflows.RegisterWorkflowRequest(workflow=workflow))
        run = await flows.StartRun(workflows.StartRunRequest(workflow="echo", start_id="theirs"))
    blob = b"secret" * 20_000
    await client.blobs.put(blob)
    return {
        "contract_id": (await handle.accepted(), FOREIGN),
        "request_id": ("theirs", "nobodys"),
        "registration_id": (registered.registration_id, "0" * 32),
        "sha256": (sha256(blob).hexdigest(), "0" * 64),
        "agent": ("echo", "none"),
        "host": ("echo", "none"),
        "name": ("echo", "none"),
        "run_id": (run.run_id, FOREIGN),
        "workflow": ("echo", "none"),
        "capability": ("demo.say", "demo.none"),
    }
