"""The registry as a process of its own."""

import asyncio
import json
import os
import signal
import sys
from typing import Any

import grpc
import pytest

from muster.v1 import registry_service_pb2 as pb
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub


def environment(**fields: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MUSTER_")}
    return {**inherited, "MUSTER_GRPC_PORT": "0", "MUSTER_HTTP_PORT": "none", **fields}


async def start(**fields: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "muster.registry",
        env=environment(**fields),
        stderr=asyncio.subprocess.PIPE,
    )


async def address_of(process: asyncio.subprocess.Process) -> str:
    assert process.stderr
    async for line in process.stderr:
        event = json.loads(line)
        if event["message"] == "serving":
            return str(event["grpc"])
    raise AssertionError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_it_and_it_ends_well(number: signal.Signals):
    process = await start(MUSTER_LOG_FORMAT="json")
    try:
        address = await address_of(process)
        async with grpc.aio.insecure_channel(address) as channel:
            stub = RegistryServiceStub(channel)
            watch: Any = aiter(stub.WatchAgents(pb.WatchAgentsRequest(), timeout=10))
            assert (await anext(watch)).reset
            process.send_signal(number)
            with pytest.raises(grpc.RpcError) as caught:
                [frame async for frame in watch]
            assert isinstance(caught.value, grpc.aio.AioRpcError)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"MUSTER_HOST": "0.0.0.0"}, "without TLS"),
        ({"MUSTER_GRPC_PORT": "-1"}, "MUSTER_GRPC_PORT: "),
    ],
)
async def test_it_says_in_one_line_why_it_does_not_start(fields: dict[str, str], why: str):
    process = await start(**fields)
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert why in stderr.decode()
    assert stderr.decode().count("\n") == 1
