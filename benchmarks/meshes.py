"""Meshes to measure: one process with all services, and a fleet of agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import READY_SECONDS, Child, free_port, running, wait_until_serving
from muster.v1.registry_service_pb2 import WatchAgentsRequest
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.wire.channel import open_channel

AGENTS = 620
HOSTS = 8
WINDOW = 4  # contracts of an agent at a time


@dataclass(frozen=True)
class Fleet:
    """Which agents there are: `sessions` hosts, spread over `processes`."""

    agents: int = AGENTS
    sessions: int = HOSTS
    processes: int = HOSTS
    window: int = WINDOW
    capability: str = "bench.echo"


@dataclass(frozen=True)
class Mesh:
    """A running mesh with its fleet."""

    target: str
    mesh: Child
    hosts: list[Child]

    @property
    def pids(self) -> dict[str, int]:
        """Every process of it."""
        return {child.name: child.pid for child in (self.mesh, *self.hosts)}


def environment_of(folder: Path, port: int) -> dict[str, str]:
    """What tells a mesh process where it lives."""
    return {
        "MUSTER_DATA_DIR": str(folder),
        "MUSTER_GRPC_PORT": str(port),
        "MUSTER_HTTP_PORT": "none",
        "MUSTER_LOG_LEVEL": "warning",
    }


@asynccontextmanager
async def mesh_process(
    folder: Path, commit_delay_ms: float = 0.0, port: int = 0
) -> AsyncIterator[tuple[str, Child]]:
    """A mesh without agents: its target and its process."""
    port = port or free_port()
    command = ("-m", "benchmarks.mesh_process", str(commit_delay_ms))
    async with running("mesh", *command, environment=environment_of(folder, port)) as child:
        target = f"127.0.0.1:{port}"
        await wait_until_serving(target)
        yield target, child


@asynccontextmanager
async def mesh(
    folder: Path, fleet: Fleet | None = None, commit_delay_ms: float = 0.0
) -> AsyncIterator[Mesh]:
    """A mesh whose whole fleet is attached; its ledger is in `folder`."""
    async with (
        mesh_process(folder, commit_delay_ms) as (target, child),
        fleet_of(target, fleet or Fleet()) as hosts,
    ):
        yield Mesh(target, child, hosts)


@asynccontextmanager
async def fleet_of(target: str, fleet: Fleet, registry: str = "") -> AsyncIterator[list[Child]]:
    """Host processes whose agents are all attached to the mesh at `target`; its registry may be
    elsewhere."""
    async with AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(running(f"host {number}", *command))
            for number, command in enumerate(_commands(target, fleet))
        ]
        await until_attached(registry or target, fleet.agents)
        yield hosts


def _commands(target: str, fleet: Fleet) -> list[list[str]]:
    """The command of each process of the fleet; the first sessions get what does not divide."""
    program = ["-m", "benchmarks.fleet_process", target, fleet.capability]
    first, commands = 0, []
    for number in range(fleet.processes):
        sessions = _share(fleet.sessions, fleet.processes, number)
        agents = _share(fleet.agents, fleet.processes, number) // sessions
        commands.append([*program, *map(str, (first, sessions, agents, fleet.window))])
        first += sessions
    return commands


def _share(whole: int, parts: int, number: int) -> int:
    return whole // parts + (number < whole % parts)


async def until_attached(target: str, agents: int) -> None:
    """Returns when the registry lists so many agents. Raises `TimeoutError`."""
    names: set[str] = set()
    async with open_channel(target) as channel, asyncio.timeout(READY_SECONDS):
        watch = RegistryServiceStub(channel).WatchAgents(WatchAgentsRequest())
        try:
            async for frame in watch:
                names.update(change.agent.spec.name for change in frame.changes)
                if len(names) >= agents:
                    return
        finally:
            watch.cancel()
