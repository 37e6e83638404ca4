"""Meshes as they are run on a cluster: each service a process, on PostgreSQL, NATS and Consul."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meshes import Fleet, environment_of, fleet_of
from benchmarks.processes import Child, free_port, running, wait_until_serving
from muster.servers.known import KINDS
from muster.servers.server import ServerProcess

SERVERS = ("postgres", "nats", "consul")


@dataclass(frozen=True)
class FullMesh:
    """A running mesh with its fleet."""

    schedulers: list[str]  # their addresses
    services: list[Child]
    hosts: list[Child]
    servers: dict[str, int]  # process ids, by name

    @property
    def pids(self) -> dict[str, int]:
        """Every process of it, servers too."""
        return {each.name: each.pid for each in (*self.services, *self.hosts)} | self.servers


@asynccontextmanager
async def full_mesh(folder: Path, each: int, fleet: Fleet | None = None) -> AsyncIterator[FullMesh]:
    """A mesh with so many of each service, and servers of its own; the whole fleet is attached.

    Raises `ServerMissing` where a server is not on this machine.
    """
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(_server(name, folder)) for name in SERVERS}
        told = {
            variable: servers[name].server.url
            for name in SERVERS
            if (variable := KINDS[name].variable) is not None
        }
        services: list[Child] = []
        targets: dict[str, list[str]] = {}
        # Each finds those that are there before it.
        for role in ("scheduler", "registry", "executor"):
            for number in range(1, each + 1):
                name, port = f"{role}-{number}", free_port()
                environment = {
                    **environment_of(folder / name, port),
                    **told,
                    "MUSTER_NAME": name,
                    **{f"MUSTER_{of.upper()}_TARGETS": ",".join(at) for of, at in targets.items()},
                }
                command = ("-m", f"muster.{role}")
                services.append(
                    await stack.enter_async_context(
                        running(name, *command, environment=environment)
                    )
                )
                targets.setdefault(role, []).append(f"127.0.0.1:{port}")
            for target in targets[role]:
                await wait_until_serving(target)
        hosts = await stack.enter_async_context(
            fleet_of(told["MUSTER_DIRECTORY"], fleet or Fleet(), ",".join(targets["registry"]))
        )
        pids = {name: pid for name, server in servers.items() if (pid := server.pid) is not None}
        yield FullMesh(targets["scheduler"], services, hosts, pids)


def _server(name: str, folder: Path) -> ServerProcess:
    kind = KINDS[name]
    ports: set[int] = set()
    while len(ports) < kind.ports:
        ports.add(free_port())
    return ServerProcess(kind.prepare(folder / name, sorted(ports), folder / f"{name}.log"))
