"""The mesh as a stranger meets it: with grpcurl, reflection, and no file of ours."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from muster.agent import Agent
from muster.servers.finding import PROGRAMS
from tests.support.meshes import Mesh
from tests.support.servers import require

CALL_SECONDS = 20.0
WATCH_SECONDS = "1"
AT_ONCE = 4

HEALTH = "grpc.health.v1.Health"
REFLECTION = {"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
SERVICES = {
    f"muster.v1.{name}Service"
    for name in (
        *("AgentState", "Blob", "Bus", "Catalogue", "Conversation", "Engine", "Event"),
        *("Executor", "Inbox", "Link", "Registry", "Schedule", "Scheduler", "Workflow"),
    )
} | {"externalscaler.ExternalScaler"}


class Grpcurl:
    """Runs grpcurl without TLS and without protos."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, *arguments: str, fails: bool = False) -> str:
        """What it prints for these arguments."""
        async with self._turns, asyncio.timeout(CALL_SECONDS):
            process = await asyncio.create_subprocess_exec(
                *(self._program, "-plaintext", *map(_one_place, arguments)),
                env={"PATH": os.environ["PATH"]},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                output, errors = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
        assert fails is bool(process.returncode), errors.decode()
        return output.decode()

    async def call(self, target: str, method: str, **fields: Any) -> dict[str, Any]:
        """The answer to a unary call."""
        answer = await self("-d", json.dumps(fields), target, method)
        return dict(json.loads(answer))

    async def call_scheduler(self, mesh: Mesh, method: str, **fields: Any) -> dict[str, Any]:
        """The scheduler's answer."""
        return await self.call(mesh.scheduler, f"muster.v1.SchedulerService/{method}", **fields)


def _one_place(argument: str) -> str:
    """Grpcurl knows of one place; of several that are the same service it gets the first."""
    return re.sub(r"^([\d.]+:\d+),.*", r"\1", argument)


@pytest.fixture
def grpcurl() -> Grpcurl:
    require("grpcurl")
    return Grpcurl(str(PROGRAMS["grpcurl"].find()))


def addresses(mesh: Mesh) -> set[str]:
    return {mesh.scheduler, mesh.registry, mesh.executor}


async def services_at(grpcurl: Grpcurl, target: str) -> set[str]:
    """Which services a server lists, but for health and reflection, which each has."""
    listed = set((await grpcurl(target, "list")).split())
    assert {HEALTH, *REFLECTION} <= listed
    return listed - {HEALTH, *REFLECTION}


async def test_every_service_is_listed_and_described_down_to_its_methods(
    mesh: Mesh, grpcurl: Grpcurl
) -> None:
    listed: set[str] = set()
    described: list[str] = []

    async def describe_method(target: str, method: str) -> None:
        text = await grpcurl(target, "describe", method)
        assert f"{method} is a method:\nrpc {method.rpartition('.')[2]} (" in text
        for message in text.replace("stream ", "").split("( .")[1:]:
            name = message.partition(" )")[0]
            assert f"{name} is a message:" in await grpcurl(target, "describe", name)
        described.append(method)

    async with asyncio.TaskGroup() as tasks:
        for target in addresses(mesh):
            services = await services_at(grpcurl, target)
            listed |= services
            for service in (*services, HEALTH, *REFLECTION):
                assert f"{service} is a service:" in await grpcurl(target, "describe", service)
                for method in (await grpcurl(target, "list", service)).split():
                    tasks.create_task(describe_method(target, method))
    assert listed == SERVICES
    assert {method.rpartition(".")[0] for method in described} >= SERVICES


async def test_health_is_checked_watched_and_listed_for_each_service(
    mesh: Mesh, grpcurl: Grpcurl
) -> None:
    async def ask(target: str, service: str) -> None:
        request = json.dumps({"service": service})
        assert json.loads(await grpcurl("-d", request, target, f"{HEALTH}/Check")) == SERVING
        # A watch has no end of its own: what it has told when the time is up counts.
        arguments = ("-max-time", WATCH_SECONDS, "-d", request, target, f"{HEALTH}/Watch")
        assert json.loads(await grpcurl(*arguments, fails=True)) == SERVING

    async with asyncio.TaskGroup() as tasks:
        for target in addresses(mesh):
            services = await services_at(grpcurl, target)
            statuses = (await grpcurl.call(target, f"{HEALTH}/List"))["statuses"]
            assert statuses == dict.fromkeys((*services, ""), SERVING)
            for service in (*services, ""):
                tasks.create_task(ask(target, service))
    unknown = ("-d", '{"service": "nobody"}', mesh.scheduler, f"{HEALTH}/Check")
    await grpcurl(*unknown, fails=True)


SERVING = {"status": "SERVING"}


async def test_a_request_by_grpcurl_alone_is_executed_by_an_agent(
    mesh: Mesh, grpcurl: Grpcurl
) -> None:
    agent, runs = Agent("adder"), list[tuple[int, int]]()

    @agent.capability("math.add")
    async def add(a: int, b: int) -> int:
        runs.append((a, b))
        return a + b

    async with mesh.host(agent):
        request = {
            "request_id": "by-hand",
            "capability": {"name": "math.add"},
            "payload": {"json": '{"a": 19, "b": 23}'},
        }
        accepted = (await grpcurl.call_scheduler(mesh, "Submit", request=request))["accepted"]
        contract_id = accepted["contract_id"]
        ended = await grpcurl.call_scheduler(mesh, "WaitContract", contract_id=contract_id)
        again = await grpcurl.call_scheduler(mesh, "Submit", request=request)
        shown = await grpcurl.call_scheduler(mesh, "GetContract", request_id="by-hand")
    assert ended["state"] == "CONTRACT_STATE_SUCCEEDED"
    assert ended["response"]["payload"] == {"json": "42"}
    assert (ended["response"]["author"], ended["response"]["agent"]) == (
        "RESPONSE_AUTHOR_AGENT",
        "adder",
    )
    assert again == {"accepted": accepted | {"duplicate": True}, "response": ended["response"]}
    assert shown["contract"]["response"] == ended["response"]
    assert runs == [(19, 23)]


def greeting_class() -> type[Any]:
    """A message type that this process has in a pool of its own, and the mesh does not know."""
    file = descriptor_pb2.FileDescriptorProto(
        name="acme/greeting.proto", package="acme.v1", syntax="proto3"
    )
    message = file.message_type.add(name="Greeting")
    string = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="whom", number=1, type=string.TYPE_STRING, label=string.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("acme.v1.Greeting"))


async def test_the_type_of_a_registered_capability_is_described(
    mesh: Mesh, grpcurl: Grpcurl
) -> None:
    agent, greeting = Agent("greeter"), greeting_class()

    async def greet(message: Any) -> Any:
        return greeting(whom=f"hello {message.whom}")

    greet.__annotations__ = {"message": greeting, "return": greeting}
    agent.capability("acme.greet")(greet)
    async with mesh.host(agent):
        asked = {"capability": {"name": "acme.greet"}}
        entry = await grpcurl.call(
            mesh.registry, "muster.v1.RegistryService/GetCapability", **asked
        )
        assert entry["entry"]["capability"]["input"]["message"]["full_name"] == "acme.v1.Greeting"
        text = await grpcurl(mesh.registry, "describe", "acme.v1.Greeting")
        assert "string whom = 1;" in text
        header = ("-H", "muster-tenant: stranger")
        await grpcurl(*header, mesh.registry, "describe", "acme.v1.Greeting", fails=True)
        if mesh.registry != mesh.scheduler:
            return  # grpcurl asks the server that it calls for types, and that is another one
        message = {"@type": "type.googleapis.com/acme.v1.Greeting", "whom": "you"}
        request = {"request_id": "typed", "payload": {"message": message}, **asked}
        accepted = (await grpcurl.call_scheduler(mesh, "Submit", request=request))["accepted"]
        ended = await grpcurl.call_scheduler(
            mesh, "WaitContract", contract_id=accepted["contract_id"]
        )
    assert ended["response"]["payload"]["message"] == message | {"whom": "hello you"}


async def test_keda_could_be_anybody_who_knows_its_interface(mesh: Mesh, grpcurl: Grpcurl) -> None:
    trigger = {"capability": "keda.wait", "perReplica": "2"}
    scaled = {"name": "workers", "namespace": "work", "scalerMetadata": trigger}

    async def ask(method: str, **fields: Any) -> dict[str, Any]:
        return await grpcurl.call(
            mesh.scheduler, f"externalscaler.ExternalScaler/{method}", **fields
        )

    assert await ask("IsActive", **scaled) == {}
    (spec,) = (await ask("GetMetricSpec", **scaled))["metricSpecs"]
    assert spec == {
        "metricName": "muster-agents-keda-wait",
        "targetSize": "2",
        "targetSizeFloat": 2,
    }
    metrics = await ask("GetMetrics", scaledObjectRef=scaled, metricName=spec["metricName"])
    assert metrics == {"metricValues": [{"metricName": "muster-agents-keda-wait"}]}
