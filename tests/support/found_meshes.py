"""Meshes whose services know of each other by a directory in Consul, and by nothing else."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from muster.allinone.__main__ import build as build_all
from muster.executor.__main__ import build as build_executor
from muster.registry.__main__ import build as build_registry
from muster.runtime.config import Config, Listen, Role, default_config
from muster.runtime.serve import Server
from muster.scheduler.__main__ import build as build_scheduler
from tests.support.meshes import Mesh

_BUILD = {
    Role.ALL: build_all,
    Role.SCHEDULER: build_scheduler,
    Role.REGISTRY: build_registry,
    Role.EXECUTOR: build_executor,
}


class FoundMesh:
    """One scheduler, and several of the others, in this process. Use `found_mesh`."""

    def __init__(self, data_dir: Path, directory: str, **more: Any) -> None:
        self.servers: dict[str, Server] = {}
        self._data_dir = data_dir
        self._directory = directory
        self._more = more

    def config(self, role: Role, name: str) -> Config:
        """Of a service that is told where the directory is."""
        listen = Listen(grpc_port=0, http_port=None, drain_seconds=0.5)
        return replace(
            default_config(role),
            data_dir=self._data_dir,
            name=name,
            directory=self._directory,
            directory_probe_seconds=0.5,
            scheduler_targets=(),
            registry_targets=(),
            zone="test",
            **{"listen": listen, **self._more},
        )

    async def start(self, role: Role, number: int = 1) -> Server:
        """Starts a service: "registry-1"."""
        config = self.config(role, f"{role.value}-{number}")
        server = Server(config.listen, _BUILD[role](config), config.tls)
        await server.start()
        self.servers[config.name] = server
        return server

    def mesh(self, number: int = 1) -> Mesh:
        """As somebody sees it who knows these."""
        names = ("scheduler-1", f"executor-{number}", f"registry-{number}")
        servers = [self.servers[name] for name in names]
        scheduler, executor, registry = (server.address for server in servers)
        return Mesh(scheduler, executor, registry, servers)


@asynccontextmanager
async def found_mesh(
    data_dir: Path, directory: str, replicas: int = 1, **more: Any
) -> AsyncIterator[FoundMesh]:
    """A mesh that runs while the block does. `more` is further configuration."""
    mesh = FoundMesh(data_dir, directory, **more)
    async with AsyncExitStack() as stack:
        for role in (Role.EXECUTOR, Role.REGISTRY):
            for number in range(1, replicas + 1):
                stack.push_async_callback((await mesh.start(role, number)).stop)
        stack.push_async_callback((await mesh.start(Role.SCHEDULER)).stop)
        yield mesh


def consul(address: str, path: str, token: str = "", method: str = "GET", body: str = "") -> Any:
    """What Consul's own HTTP API answers; blocks."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, f"/v1/{path}", body or None, {"X-Consul-Token": token})
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    assert answer.status == HTTPStatus.OK, said
    return json.loads(said or b"null")


def listed(address: str, kind: str, token: str = "") -> Mapping[str, str]:
    """Every entry of a kind by its name, with its worst state, as Consul has it."""
    worst = ("critical", "warning", "passing")
    return {
        node["Service"]["Meta"]["name"]: min(
            (check["Status"] for check in node["Checks"]), key=worst.index
        )
        for node in consul(address, f"health/service/muster-{kind}", token)
    }
