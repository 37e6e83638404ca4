"""Health over real gRPC, and the HTTP listener that tells the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from muster.model.errors import Code
from muster.runtime import standard_protos
from muster.runtime.serve import Readiness, Server, serve
from muster.v1 import registry_service_pb2 as pb
from muster.v1.registry_service_pb2_grpc import (
    RegistryServiceStub,
)
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from tests.support.scripted_service import (
    NOT_SERVING,
    SERVICE,
    SERVING,
    UNKNOWN,
    check_health,
    listen,
    make_part,
    running,
    scripted,
    watch_health,
)


async def test_health_is_told_by_service_and_for_the_whole():
    async with running() as mesh:
        assert await check_health(mesh.channel, SERVICE) == SERVING
        assert await check_health(mesh.channel, "") == SERVING
        error = await mesh.refusal_of(check_health(mesh.channel, "no.Such"))
        assert error.code is Code.NOT_FOUND


async def test_health_lists_every_service():
    async with running() as mesh:
        call = mesh.channel.unary_unary(
            f"/{standard_protos.HEALTH}/List",
            standard_protos.HealthListRequest.SerializeToString,
            standard_protos.HealthListResponse.FromString,
        )
        response: Any = await call(standard_protos.HealthListRequest(), timeout=10)
        statuses = {name: each.status for name, each in response.statuses.items()}
        assert statuses == {"": SERVING, SERVICE: SERVING}


async def test_two_watchers_of_health_see_a_service_drain():
    async with running() as mesh:
        watches = [watch_health(mesh.channel, SERVICE) for _ in range(2)]
        for watch in watches:
            assert (await watch.read()).status == SERVING
        unknown = watch_health(mesh.channel, "no.Such")
        assert (await unknown.read()).status == UNKNOWN
        stopped = asyncio.gather(mesh.server.stop())
        for watch in watches:
            assert (await watch.read()).status == NOT_SERVING
            error = await mesh.refusal_of(watch.read())
            assert (error.code, error.reason) == (Code.UNAVAILABLE, "NOT_READY")
        await stopped


async def test_nothing_is_served_before_every_part_has_started():
    servicer, may_start, starting = scripted(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(_readiness: Readiness) -> AsyncIterator[None]:
        starting.set()
        await may_start.wait()
        yield

    server = Server(listen(), [make_part(servicer, run=slow)])
    async with asyncio.TaskGroup() as group:
        started = group.create_task(server.start())
        await starting.wait()
        async with grpc.aio.insecure_channel(server.address) as channel:
            assert await check_health(channel, SERVICE) == NOT_SERVING
            stub = RegistryServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                await stub.GetAgent(pb.GetAgentRequest(name="x"), timeout=10)
            assert error_of_rpc(caught.value).reason == "NOT_READY"
            may_start.set()
            await started
            assert await check_health(channel, SERVICE) == SERVING
    await server.stop()


async def test_a_part_that_misses_something_is_not_serving_and_still_answers():
    servicer = scripted()
    word: list[Readiness] = []

    @asynccontextmanager
    async def run(readiness: Readiness) -> AsyncIterator[None]:
        word.append(readiness)
        yield

    part = make_part(servicer, run=run)
    async with serve(listen(), [part]) as server, open_channel(server.address) as channel:
        word[0].impaired()
        assert await check_health(channel, SERVICE) == NOT_SERVING
        stub = RegistryServiceStub(channel)
        await stub.GetAgent(pb.GetAgentRequest(name="x"), timeout=10)
        assert servicer.served == 1
        word[0].serving()
        assert await check_health(channel, "") == SERVING


# --- HTTP -----------------------------------------------------------------------------------------


async def fetch(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    raw = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = raw.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


async def test_http_tells_metrics_and_whether_the_process_lives_and_is_ready():
    async with running(http_port=0) as mesh:
        address = mesh.server.http_address
        assert address
        await mesh.get("fine")
        await mesh.refusal_of(mesh.get("missing"))
        assert await fetch(address, "/live") == (200, '{"live": true}')
        status, body = await fetch(address, "/ready")
        assert (status, json.loads(body)) == (
            200,
            {"ready": True, "services": {SERVICE: "serving"}},
        )
        status, body = await fetch(address, "/metrics")
        for code in ("OK", "NOT_FOUND"):
            line = f'muster_calls_total{{code="{code}",method="/{SERVICE}/GetAgent"}} 1.0'
            assert line in body
        assert (await fetch(address, "/nothing"))[0] == 404
        assert (await fetch(address, "/live", "POST"))[0] == 405


async def test_a_process_that_misses_something_lives_and_is_not_ready():
    @asynccontextmanager
    async def run(readiness: Readiness) -> AsyncIterator[None]:
        word.append(readiness)
        yield

    word: list[Readiness] = []
    part = make_part(scripted(), run=run)
    async with serve(listen(http_port=0), [part]) as server:
        word[0].impaired()
        assert server.http_address
        assert (await fetch(server.http_address, "/ready"))[0] == 503
        assert (await fetch(server.http_address, "/live"))[0] == 200
