"""Hosts against a scripted mesh, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from muster.agent import Agent, Client, Host, connect
from tests.support.scripted_mesh import ScriptedMesh, scripted_mesh

agent = Agent("echoer", max_in_flight=100)


@agent.capability("demo.echo")
async def echo(text: str, times: int = 1) -> str:
    return text * times


@asynccontextmanager
async def running(mesh: ScriptedMesh, *agents: Agent) -> AsyncIterator[Host]:
    host = Host(agents, target=mesh.target, name="host", leave_seconds=5)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.run())
        await host.connected()
        try:
            yield host
        finally:
            host.leave()


@asynccontextmanager
async def client_of(mesh: ScriptedMesh) -> AsyncIterator[Client]:
    async with connect(mesh.target) as client:
        yield client


async def test_a_request_comes_back_as_a_response() -> None:
    async with scripted_mesh() as mesh, running(mesh, agent), connect(mesh.target) as client:
        assert await client.call("demo.echo", {"text": "ab", "times": 2}) == "abab"
