"""The port for probes, and `muster health`, which is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from muster.runtime.config import ConfigError, Listen
from muster.runtime.health import LIVE, OVERALL
from muster.runtime.serve import Part, Readiness, Server, serve
from muster.v1.registry_service_pb2 import ListAgentsRequest
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from tests.support.commands import Shell, shell_in
from tests.support.identities import Pki, environment
from tests.support.processes import free_port
from tests.support.scripted_service import NOT_SERVING, SERVICE, SERVING, make_part, scripted

LISTEN = Listen(grpc_port=0, http_port=None, health_port=0, drain_seconds=0.5)


def stub_of(channel: grpc.aio.Channel) -> Any:
    return HealthStub(channel)


async def told(address: str | None, service: str = OVERALL) -> int:
    """What the port for probes says, asked in clear."""
    assert address is not None
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await stub_of(channel).Check(HealthCheckRequest(service=service), timeout=5)
    return int(answer.status)


async def test_it_tells_in_clear_where_everything_else_wants_a_certificate(tmp_path: Path) -> None:
    pki = Pki.make(tmp_path)
    async with serve(LISTEN, [make_part(scripted())], pki.tls) as server:
        for service in (OVERALL, SERVICE, LIVE):
            assert await told(server.health_address, service) == SERVING
        assert server.health_address is not None
        async with grpc.aio.insecure_channel(server.health_address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await RegistryServiceStub(channel).ListAgents(ListAgentsRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_without_it_there_is_none() -> None:
    async with serve(replace(LISTEN, health_port=None), [make_part(scripted())]) as server:
        assert server.health_address is None


async def test_one_that_is_taken_is_named() -> None:
    async with serve(LISTEN, [make_part(scripted())]) as server:
        taken = int(str(server.health_address).rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"127.0.0.1:{taken} is in use"):
            async with serve(replace(LISTEN, health_port=taken), [make_part(scripted())]):
                raise AssertionError("it serves")


class Waiting:
    """A part that takes its time to start, and to drain."""

    def __init__(self) -> None:
        self.may_start = asyncio.Event()
        self.drains = asyncio.Event()
        self.may_end = asyncio.Event()
        self.readiness: Readiness | None = None

    @asynccontextmanager
    async def run(self, readiness: Readiness) -> AsyncIterator[None]:
        self.readiness = readiness
        await self.may_start.wait()
        yield

    async def drain(self) -> None:
        self.drains.set()
        await self.may_end.wait()

    def part(self) -> Part:
        return replace(make_part(scripted()), run=self.run, drain=self.drain)


async def test_who_starts_waits_or_drains_lives_and_is_not_ready() -> None:
    waiting = Waiting()
    port = free_port()
    listen = replace(LISTEN, health_port=port, drain_seconds=20)
    server = Server(listen, [waiting.part()])
    address = f"127.0.0.1:{port}"

    async def says(ready: int) -> None:
        assert await told(address, LIVE) == SERVING
        assert await told(address, SERVICE) == ready

    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(server.start())
        async with grpc.aio.insecure_channel(address) as channel:
            stub = stub_of(channel)
            await stub.Check(HealthCheckRequest(), timeout=10, wait_for_ready=True)
        await says(NOT_SERVING)
        waiting.may_start.set()
        await starting
        await says(SERVING)
        assert waiting.readiness is not None
        assert waiting.readiness.health_address == address
        waiting.readiness.impaired()
        await says(NOT_SERVING)
        waiting.readiness.serving()
        server.request_stop()
        await waiting.drains.wait()
        await says(NOT_SERVING)
        waiting.may_end.set()
        await server.stop()


async def test_who_watches_it_does_not_hold_up_a_stop() -> None:
    async with asyncio.timeout(10):
        async with serve(LISTEN, [make_part(scripted())]) as server:
            assert server.health_address is not None
            channel = grpc.aio.insecure_channel(server.health_address)
            watch = stub_of(channel).Watch(HealthCheckRequest())
            assert (await watch.read()).status == HealthCheckResponse.SERVING
        await channel.close()


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        yield shell


@pytest.mark.xdist_group("processes")
async def test_the_command_answers_with_its_exit_code(shell: Shell, tmp_path: Path) -> None:
    pki = Pki.make(tmp_path / "pki")
    async with serve(LISTEN, [make_part(scripted())], pki.tls) as server:
        port = str(server.health_address).rpartition(":")[2]
        shell.environment |= {"MUSTER_HOST": "0.0.0.0", "MUSTER_HEALTH_PORT": port}
        assert (await shell.ok("health")).out == "serving\n"
        assert (await shell.ok("health", "--service", SERVICE)).out == "serving\n"
        unknown = await shell.run("health", "--service", "no.Such")
        assert (unknown.code, "no service 'no.Such'" in unknown.err) == (4, True)
        server.health.drain()
        drains = await shell.run("health")
        assert (drains.code, drains.out) == (1, "not serving\n")
        assert (await shell.ok("health", "--live")).out == "serving\n"
        # Over TLS, as the variables say.
        shell.environment |= environment(pki.caller("client"))
        over_tls = await shell.run("health", "--address", server.address)
        assert (over_tls.code, over_tls.out) == (1, "not serving\n")
    nobody = await shell.run("health")
    assert (nobody.code, "nobody tells at 127.0.0.1" in nobody.err) == (3, True)
