"""What callers get over real gRPC: errors, principals, limits."""

import asyncio
from typing import Any

import grpc
import pytest

from muster.model import limits
from muster.model.errors import Code, NotFound
from muster.runtime.principal import PRINCIPAL_KEY, TENANT_KEY
from muster.v1 import registry_service_pb2 as pb
from tests.support.scripted_service import (
    SERVICE,
    SERVING,
    check_health,
    running,
)


async def test_an_error_carries_its_reason_and_code():
    async with running() as mesh:
        error = await mesh.refusal_of(mesh.get("missing"))
        assert isinstance(error, NotFound)
        assert (error.code, error.reason) == (Code.NOT_FOUND, "AGENT_UNKNOWN")
        assert error.message == "there is no such agent"


@pytest.mark.parametrize("name", ["defect", "leaked-cancel", "nothing"])
async def test_a_defect_is_internal_with_a_number_and_tells_nothing_else(name: str):
    async with running() as mesh:
        error = await mesh.refusal_of(mesh.get(name))
        assert (error.code, error.reason) == (Code.INTERNAL, "INTERNAL")
        assert error.message.startswith("internal error; search the logs for ")
        assert "secret" not in error.message
        assert (await mesh.get("fine")).tenant == "default"


async def test_a_request_that_breaks_its_rules_never_reaches_the_servicer():
    async with running() as mesh:
        error = await mesh.refusal_of(mesh.get(""))
        assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")
        assert [violation.field for violation in error.violations] == ["name"]
        assert mesh.servicer.served == 0


@pytest.mark.parametrize("method", ["GetAgent", "WatchAgents", "ReportPresence"])
@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xc3\x28"])
async def test_unparseable_bytes_are_malformed_on_every_kind_of_call(method: str, raw: bytes):
    async with running() as mesh:
        path = f"/{SERVICE}/{method}"
        call: Any
        if method == "GetAgent":
            call = mesh.channel.unary_unary(path)(raw, timeout=10)
        elif method == "WatchAgents":
            call = mesh.channel.unary_stream(path)(raw, timeout=10).read()
        else:
            stream = mesh.channel.stream_stream(path)(timeout=10)
            await stream.write(raw)
            call = stream.read()
        error = await mesh.refusal_of(call)
        assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


async def test_an_error_in_the_middle_of_a_stream_arrives_after_what_was_sent():
    async with running() as mesh:
        mesh.servicer.go_on.set()
        call = mesh.stub.WatchAgents(pb.WatchAgentsRequest(revision=3), timeout=10)
        assert [(await call.read()).revision for _ in range(3)] == [1, 2, 3]
        assert (await mesh.refusal_of(call.read())).reason == "AGENT_UNKNOWN"


async def test_a_message_that_is_too_large_is_refused_either_way():
    async with running() as mesh:
        path = f"/{SERVICE}/GetAgent"
        raw = b"\x0a" + b"x" * (limits.MESSAGE_BYTES_MAX + 10)
        async with grpc.aio.insecure_channel(mesh.server.address) as channel:
            call: Any = channel.unary_unary(path)
            error = await mesh.refusal_of(call(raw, timeout=10))
        assert error.code is Code.RESOURCE_EXHAUSTED
        error = await mesh.refusal_of(mesh.get("huge"))
        assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")


async def test_metadata_that_is_too_large_is_refused():
    async with running() as mesh:
        metadata = (("x-large", "x" * 3 * limits.METADATA_BYTES_MAX),)
        error = await mesh.refusal_of(mesh.get("fine", metadata=metadata))
        assert error.code is Code.RESOURCE_EXHAUSTED


async def test_an_unknown_method_is_unimplemented():
    async with running() as mesh:
        for path in (f"/{SERVICE}/Nothing", "/no.Such/Thing"):
            call: Any = mesh.channel.unary_unary(path)(b"", timeout=10)
            assert (await mesh.refusal_of(call)).code is Code.UNIMPLEMENTED


async def test_a_caller_that_goes_away_ends_its_stream_at_the_server():
    async with running() as mesh:
        call = mesh.stub.WatchAgents(pb.WatchAgentsRequest(), timeout=10)
        await mesh.servicer.watched.wait()
        call.cancel()
        async with asyncio.timeout(5):
            await mesh.servicer.ended.wait()


# --- principal and limits -------------------------------------------------------------------------


async def test_the_principal_comes_from_metadata():
    async with running() as mesh:
        assert (await mesh.get("x")).tenant == "default"
        metadata = ((TENANT_KEY, "acme"), (PRINCIPAL_KEY, "alice"))
        agent = await mesh.get("x", metadata=metadata)
        assert (agent.tenant, agent.host) == ("acme", "alice")
        assert (await mesh.get("x")).tenant == "default"


async def test_a_malformed_tenant_is_refused():
    async with running() as mesh:
        error = await mesh.refusal_of(mesh.get("x", metadata=((TENANT_KEY, "../etc"),)))
        assert error.code is Code.INVALID_ARGUMENT
        assert error.violations[0].field == TENANT_KEY


async def test_calls_beyond_the_limit_are_told_to_come_back_and_streams_count_apart():
    async with running(unary_calls_max=1, streams_max=1) as mesh:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(mesh.get("waits"))
            await mesh.servicer.entered.wait()
            error = await mesh.refusal_of(mesh.get("fine"))
            assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")
            assert error.retry_after_seconds
            watch = mesh.stub.WatchAgents(pb.WatchAgentsRequest(revision=1))
            await watch.read()
            other = mesh.stub.WatchAgents(pb.WatchAgentsRequest(revision=1))
            assert (await mesh.refusal_of(other.read())).reason == "QUEUE_FULL"
            assert await check_health(mesh.channel, SERVICE) == SERVING
            watch.cancel()
            mesh.servicer.go_on.set()
            await first
        assert (await mesh.get("fine")).tenant == "default"
