"""Starting, draining and stopping a process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from muster.model.errors import Code
from muster.runtime.config import ConfigError
from muster.runtime.serve import Part, Readiness, Server, serve
from muster.v1 import registry_service_pb2 as pb
from muster.v1.registry_service_pb2_grpc import (
    RegistryServiceStub,
)
from muster.wire.channel import open_channel
from tests.support.scripted_service import (
    listen,
    make_part,
    running,
    scripted,
)


async def test_a_port_in_use_is_refused_with_its_number():
    async with running() as mesh:
        port = int(mesh.server.address.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f":{port} is in use"):
            async with serve(listen(grpc_port=port), [make_part(scripted())]):
                pass
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            with pytest.raises(ConfigError, match=f":{taken} is in use"):
                async with serve(listen(http_port=taken), [make_part(scripted())]):
                    pass
        assert (await mesh.get("fine")).tenant == "default"


async def test_an_address_that_others_can_reach_is_refused():
    with pytest.raises(ConfigError, match="without TLS"):
        async with serve(listen(host="0.0.0.0"), [make_part(scripted())]):
            pass


async def test_stop_is_complete_when_it_returns_and_safe_to_call_again():
    async with running() as mesh:
        port = int(mesh.server.address.rpartition(":")[2])
        await asyncio.gather(mesh.server.stop(), mesh.server.stop())
        await mesh.server.stop()
        socket.create_server(("127.0.0.1", port)).close()


async def test_stop_before_start_does_nothing():
    await Server(listen(), [make_part(scripted())]).stop()


async def test_stop_does_not_wait_for_a_part_that_waits_for_something_that_is_away():
    begun, left = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def waits(_readiness: Readiness) -> AsyncIterator[None]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            left.set()

    server = Server(listen(), [make_part(scripted()), Part("waits", {}, run=waits)])
    with capture_logs() as logs:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(server.start())
            await begun.wait()
            await asyncio.gather(server.stop(), server.stop())
    assert left.is_set()
    said = [each["event"] for each in logs]
    assert "stopped" in said
    assert "serving" not in said
    port = int(server.address.rpartition(":")[2])
    socket.create_server(("127.0.0.1", port)).close()


async def test_a_call_that_runs_may_finish_while_streams_are_told_to_connect_again():
    async with running() as mesh:
        watch = mesh.stub.WatchAgents(pb.WatchAgentsRequest(revision=1), timeout=10)
        await watch.read()
        async with asyncio.TaskGroup() as group:
            call = group.create_task(mesh.get("waits"))
            await mesh.servicer.entered.wait()
            stop = group.create_task(mesh.server.stop())
            error = await mesh.refusal_of(watch.read())
            assert (error.code, error.reason) == (Code.UNAVAILABLE, "NOT_READY")
            mesh.servicer.go_on.set()
            assert (await call).tenant == "default"
            await stop


async def test_no_unary_call_fails_while_the_service_restarts_on_its_port():
    servicer, done = scripted(), asyncio.Event()
    enough, again = asyncio.Event(), asyncio.Event()

    async def caller(channel: Any) -> None:
        stub: Any = RegistryServiceStub(channel)
        while not done.is_set():
            await stub.GetAgent(pb.GetAgentRequest(name="x"), timeout=20)
            if servicer.served >= 200:
                (again if enough.is_set() else enough).set()

    old = Server(listen(), [make_part(servicer)])
    await old.start()
    new = Server(listen(grpc_port=int(old.address.rpartition(":")[2])), [make_part(servicer)])
    async with open_channel(old.address) as channel, asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(caller(channel))
        await enough.wait()
        await old.stop()
        servicer.served = 0
        again.clear()
        await new.start()
        await again.wait()
        done.set()
    await new.stop()


async def test_parts_drain_in_reverse_while_their_calls_still_work():
    order: list[str] = []

    def part(name: str, services: dict[str, Any]) -> Part:
        @asynccontextmanager
        async def run(_readiness: Readiness) -> AsyncIterator[None]:
            order.append(f"{name} starts")
            yield
            order.append(f"{name} ends")

        async def drain() -> None:
            if services:
                async with open_channel(server.address) as channel:
                    stub = RegistryServiceStub(channel)
                    await stub.GetAgent(pb.GetAgentRequest(name="x"), timeout=10)
            order.append(f"{name} drains")

        return Part(name=name, services=services, run=run, drain=drain)

    first = part("first", dict(make_part(scripted()).services))
    async with serve(listen(), [first, part("second", {})]) as server:
        pass
    assert order == [
        "first starts",
        "second starts",
        "second drains",
        "first drains",
        "second ends",
        "first ends",
    ]


async def test_a_drain_that_hangs_is_cut_short():
    async def forever() -> None:
        await asyncio.Event().wait()

    part = make_part(scripted(), drain=forever)
    async with asyncio.timeout(10), serve(listen(drain_seconds=0.05), [part]):
        pass
    server = Server(listen(drain_seconds=600.0), [part])
    async with asyncio.timeout(10):
        await server.start()
        server.request_stop()
        server.request_stop(hurry=True)
        await server.wait_stopped()


async def test_a_reader_that_takes_nothing_does_not_hold_the_process():
    async with running(drain_seconds=0.1) as mesh:
        request = pb.WatchAgentsRequest(filter=pb.AgentFilter(host="floods"))
        watch = mesh.stub.WatchAgents(request)
        await watch.read()
        async with asyncio.timeout(5):
            await mesh.server.stop()
            await mesh.servicer.ended.wait()


async def test_callers_that_vanish_while_they_are_written_to_leave_no_trace(caplog):
    with capture_logs() as lines:
        await _vanish()
    assert [line["event"] for line in lines] == ["serving", "stopped"]
    # gRPC's poller may still speak of the event loop of an earlier test.
    errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert [each for each in errors if "PollerCompletionQueue" not in each] == []


async def _vanish() -> None:
    async with running() as mesh:
        request = pb.WatchAgentsRequest(filter=pb.AgentFilter(host="floods"))
        for _ in range(20):
            watch = mesh.stub.WatchAgents(request)
            await watch.read()
            watch.cancel()
        assert (await mesh.get("fine")).tenant == "default"


async def test_a_part_that_fails_later_stops_the_process_with_its_error():
    fail = asyncio.Event()

    @asynccontextmanager
    async def run(_readiness: Readiness) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:

            async def breaks() -> None:
                await fail.wait()
                raise LookupError("the disk is gone")

            group.create_task(breaks())
            yield

    server = Server(listen(), [make_part(scripted(), run=run)])
    await server.start()
    fail.set()
    with pytest.raises(ExceptionGroup) as caught:
        await server.wait_stopped()
    assert caught.group_contains(LookupError, match="the disk is gone")
    with pytest.raises(ExceptionGroup):
        await server.stop()


async def test_a_part_that_cannot_start_leaves_nothing_behind():
    ended: list[str] = []

    @asynccontextmanager
    async def first(_readiness: Readiness) -> AsyncIterator[None]:
        yield
        ended.append("first")

    @asynccontextmanager
    async def second(_readiness: Readiness) -> AsyncIterator[None]:
        if "first" not in ended:
            raise ConfigError("cannot")
        yield

    parts = [make_part(scripted(), run=first), Part("second", {}, second)]
    server = Server(listen(), parts)
    with pytest.raises(ConfigError, match="cannot"):
        await server.start()
    port = int(server.address.rpartition(":")[2])
    socket.create_server(("127.0.0.1", port)).close()
