"""The catalogue as the registry tells it, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator

import grpc

from muster.model.errors import Code
from muster.registry.part import Registry
from muster.runtime.config import Listen
from muster.runtime.serve import serve
from muster.v1 import capability_pb2
from muster.v1 import catalogue_service_pb2 as catalogue_pb
from tests.support.registry_mesh import (
    SUM,
    Mesh,
    Scheduler,
    make_spec,
    running,
)


async def test_capabilities_come_with_their_schemas_and_the_number_of_agents():
    async with running("b@1.0.0", "a@1.10.0", "a@1.9.0", "a@2.0.0") as mesh:
        await mesh.call("RegisterAgent", spec=make_spec("z", "a@1.9.0", "b@1.0.0"))
        listed = (await mesh.call("ListCapabilities")).entries
        names = [f"{each.capability.name}@{each.capability.version}" for each in listed]
        assert names == ["a@1.9.0", "a@1.10.0", "a@2.0.0", "b@1.0.0"]
        assert [each.agents_now for each in listed] == [1, 0, 0, 1]
        assert listed[0].capability.input.json_schema == SUM
        only = await mesh.call("ListCapabilities", name_prefix="b")
        assert len(only.entries) == 1


async def test_the_newest_version_that_fits_is_found():
    async with running("a@1.10.0", "a@1.9.0", "a@2.0.0") as mesh:
        for version, expected in (("", "2.0.0"), ("1", "1.10.0"), ("1.9.0", "1.9.0")):
            selector = capability_pb2.CapabilitySelector(name="a", version=version)
            found = await mesh.call("GetCapability", capability=selector)
            assert found.entry.capability.version == expected
        selector = capability_pb2.CapabilitySelector(name="a", version="3")
        error = await mesh.refusal_of(mesh.call("GetCapability", capability=selector))
        assert error.reason == "CAPABILITY_UNKNOWN"


async def test_pages_of_large_schemas_fit_a_message():
    async with running() as mesh:
        for number in range(60):
            mesh.scheduler.add(f"large{number:02}@1.0.0", schema="x" * 60_000)
        mesh.scheduler.breaks.set()
        async with asyncio.timeout(10):
            while not (await mesh.call("ListCapabilities", name_prefix="large59")).entries:
                pass
        first = await mesh.call("ListCapabilities", page_size=1000)
        rest = await mesh.call("ListCapabilities", page_size=1000, page_token=first.next_page_token)
        assert len(first.entries) + len(rest.entries) == 61
        assert first.entries[-1].capability.name < rest.entries[0].capability.name


async def test_after_a_break_the_catalogue_is_read_again():
    async with running("a@1.0.0", "b@1.0.0") as mesh:
        mesh.scheduler.add("c@1.0.0", tenant="other")
        mesh.scheduler.breaks.set()
        selector = capability_pb2.CapabilitySelector(name="c")
        async with asyncio.timeout(10):
            while len(mesh.scheduler.asked) < 2:
                await mesh.call("ListCapabilities")
        assert mesh.scheduler.asked[:2] == [{}, {}]
        error = await mesh.refusal_of(mesh.call("GetCapability", capability=selector))
        assert error.reason == "CAPABILITY_UNKNOWN"


async def test_before_the_catalogue_was_read_nothing_is_said_about_capabilities():
    registry = Registry(sweep_seconds=0.01)

    async def away(
        _request: catalogue_pb.WatchCatalogueRequest,
    ) -> AsyncIterator[catalogue_pb.WatchCatalogueResponse]:
        await asyncio.Event().wait()
        yield catalogue_pb.WatchCatalogueResponse()

    part = registry.part(lambda: registry.running([away]))
    listen = Listen(grpc_port=0, http_port=None)
    async with (
        serve(listen, [part]) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        mesh = Mesh(registry, Scheduler(), channel)
        error = await mesh.refusal_of(mesh.call("ListCapabilities"))
        assert (error.code, error.reason) == (Code.UNAVAILABLE, "NOT_READY")
        assert await mesh.names() == []
