"""Reflection over real gRPC, as grpcurl uses it."""

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2

from muster.model.errors import Code
from muster.runtime import standard_protos
from muster.runtime.principal import TENANT_KEY
from muster.runtime.serve import serve
from muster.wire.channel import open_channel
from tests.support.scripted_service import (
    SERVICE,
    listen,
    make_part,
    running,
    scripted,
)


class Reflector:
    """A raw reflection client, as grpcurl is one."""

    def __init__(self, channel: grpc.aio.Channel, service: str, tenant: str = "default") -> None:
        self._call: Any = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )(timeout=10, metadata=((TENANT_KEY, tenant),))

    async def ask(self, **fields: Any) -> reflection_pb2.ServerReflectionResponse:
        await self._call.write(reflection_pb2.ServerReflectionRequest(**fields))
        response: reflection_pb2.ServerReflectionResponse = await self._call.read()
        return response

    async def pool_of(self, symbol: str) -> descriptor_pool.DescriptorPool:
        response = await self.ask(file_containing_symbol=symbol)
        files = descriptor_pb2.FileDescriptorSet()
        for raw in response.file_descriptor_response.file_descriptor_proto:
            files.file.add().ParseFromString(raw)
        pool, left = descriptor_pool.DescriptorPool(), list(files.file)
        while left:
            known = {file.name for file in files.file} - {file.name for file in left}
            ready = [file for file in left if known.issuperset(file.dependency)]
            for file in ready:
                pool.Add(file)
                left.remove(file)
            assert ready
        return pool


VERSIONS = [standard_protos.REFLECTION_V1, standard_protos.REFLECTION_V1ALPHA]


@pytest.mark.parametrize("version", VERSIONS)
async def test_reflection_lists_the_services(version: str):
    async with running() as mesh:
        response = await Reflector(mesh.channel, version).ask(list_services="")
        names = {each.name for each in response.list_services_response.service}
        assert names == {SERVICE, standard_protos.HEALTH, *VERSIONS}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "symbol",
    [
        SERVICE,
        f"{SERVICE}.GetAgent",
        "muster.v1.Agent",
        "muster.v1.Agent.tenant",
        "muster.v1.AgentState",
        "grpc.health.v1.Health.List",
        *VERSIONS,
        f"{VERSIONS[0]}.ServerReflectionInfo",
    ],
)
async def test_reflection_describes_everything_down_to_a_method(version: str, symbol: str):
    async with running() as mesh:
        pool = await Reflector(mesh.channel, version).pool_of(symbol)
        if symbol == f"{SERVICE}.GetAgent":
            service = pool.FindServiceByName(SERVICE)
            method = service.FindMethodByName("GetAgent")
            assert method.input_type.full_name == "muster.v1.GetAgentRequest"


async def test_reflection_says_what_it_does_not_know_and_goes_on():
    async with running() as mesh:
        reflector = Reflector(mesh.channel, VERSIONS[0])
        for symbol in ("no.such.Thing", "", ".", "x" * 10_000):
            response = await reflector.ask(file_containing_symbol=symbol)
            assert response.error_response.error_code == Code.NOT_FOUND
        assert (await reflector.ask()).error_response.error_code == Code.INVALID_ARGUMENT
        response = await reflector.ask(file_by_filename="muster/v1/agent.proto")
        assert response.file_descriptor_response.file_descriptor_proto


async def test_registered_types_are_described_to_their_own_tenant_only():
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="acme.proto", package="acme.v1")
    file.message_type.add(name="Invoice")
    pool.Add(file)

    class Source:
        def pools(self, tenant: str) -> list[descriptor_pool.DescriptorPool]:
            return [pool] if tenant == "acme" else []

    part = make_part(scripted(), reflection=[Source()])
    async with serve(listen(), [part]) as server, open_channel(server.address) as channel:
        mine = await Reflector(channel, VERSIONS[0], "acme").pool_of("acme.v1.Invoice")
        assert mine.FindMessageTypeByName("acme.v1.Invoice").file.name == "acme.proto"
        other = Reflector(channel, VERSIONS[0], "other")
        response = await other.ask(file_containing_symbol="acme.v1.Invoice")
        assert response.error_response.error_code == Code.NOT_FOUND
