"""How long a mesh takes to serve, from nothing and from a full ledger."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path

import grpc

from benchmarks.bench import Bench
from benchmarks.fleet_process import make_agents
from benchmarks.growing import filled
from benchmarks.meshes import environment_of
from benchmarks.processes import (
    READY_SECONDS,
    executing,
    free_port,
    running,
    wait_until_serving,
)
from muster.agent.spec import agent_spec
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.session_pb2 import Hello
from muster.wire.channel import open_channel

KEYS = ("up", "restart")
OPEN = 10_000
RETRY_SECONDS = 0.02  # between two tries of an agent to connect


async def measure(bench: Bench) -> None:
    """Both, as often as there are rounds."""
    if bench.wants("up"):
        for number in range(bench.rounds):
            bench.say(f"muster up, round {number + 1} of {bench.rounds}")
            bench.add("up", "seconds", await _up(bench.new_folder()))
    if bench.wants("restart"):
        folder = await filled(bench, "sdk", OPEN)
        for number in range(bench.rounds):
            bench.say(f"restart, round {number + 1} of {bench.rounds}")
            await _restart(bench, folder)


async def _up(folder: Path) -> float:
    """Seconds from the command until health says SERVING for the whole of the mesh."""
    port = free_port()
    program = shutil.which("muster", path=str(Path(sys.executable).parent))
    assert program is not None
    command = (program, "up", "--no-http", "--port", str(port), "--data-dir", str(folder))
    began = time.monotonic()
    async with executing("muster up", *command, stdout=asyncio.subprocess.DEVNULL):
        await wait_until_serving(f"127.0.0.1:{port}")
        return time.monotonic() - began


async def _restart(bench: Bench, folder: Path) -> None:
    """From the start of the process until an agent, which tries all the time, has an assignment."""
    port = free_port()
    target = f"127.0.0.1:{port}"
    began = time.monotonic()
    async with (
        running("mesh", "-m", "muster.allinone", environment=environment_of(folder, port)),
        asyncio.timeout(READY_SECONDS),
        asyncio.TaskGroup() as tasks,
    ):
        dispatching = tasks.create_task(_first_assignment(target))
        await wait_until_serving(target)
        bench.note("restart", "seconds to SERVING", time.monotonic() - began)
        await dispatching
        bench.add("restart", "seconds", time.monotonic() - began)


async def _first_assignment(target: str) -> None:
    """Returns when an agent that connects as soon as it can has got work."""
    (agent,) = make_agents("bench.echo", "probe", 1, 1)
    hello = Hello(protocol_version=1, host="probe", agents=[agent_spec(agent)])
    while True:
        async with open_channel(target) as channel:
            call = ExecutorServiceStub(channel).Connect()
            try:
                await call.write(ConnectRequest(frame_seq=1, hello=hello))
                while isinstance(frame := await call.read(), ConnectResponse):
                    if frame.assignments:
                        return
            except (grpc.RpcError, asyncio.InvalidStateError):
                pass  # it does not listen yet, or not everything in it has started
            finally:
                call.cancel()
        await asyncio.sleep(RETRY_SECONDS)
