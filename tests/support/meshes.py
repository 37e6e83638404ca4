"""Real meshes for tests: all in one server, or three that speak gRPC; on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from muster.agent import Agent, Host
from muster.allinone.__main__ import build as build_all
from muster.executor.__main__ import build as build_executor
from muster.registry.__main__ import build as build_registry
from muster.runtime.config import Config, Listen, Role, Tls, default_config
from muster.runtime.serve import NO_TLS, Server, serve
from muster.scheduler.__main__ import build as build_scheduler


@dataclass(frozen=True)
class Mesh:
    """Where a running mesh is."""

    scheduler: str
    executor: str
    registry: str
    servers: Sequence[Server]

    def environment(self) -> dict[str, str]:
        """What tells clients and hosts where everything is."""
        return {
            "MUSTER_SCHEDULER": self.scheduler,
            "MUSTER_REGISTRY": self.registry,
            "MUSTER_EXECUTOR": self.executor,
        }

    @asynccontextmanager
    async def host(
        self, *agents: Agent, name: str = "host", tenant: str | None = None
    ) -> AsyncIterator[Host]:
        """A host with these agents, connected."""
        host = Host(agents, target=self.executor, name=name, tenant=tenant, leave_seconds=1.0)
        async with running(host):
            yield host


@asynccontextmanager
async def running(host: Host) -> AsyncIterator[None]:
    """Runs a host while the block runs."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(host.run())
        try:
            async with asyncio.timeout(10):
                await host.connected()
            yield
        finally:
            host.leave()
            await asyncio.wait([task])


def _config(role: Role, data_dir: Path, tls: Tls, bus: str = "") -> Config:
    listen = Listen(grpc_port=0, http_port=0, drain_seconds=0.5)
    return replace(
        default_config(role), listen=listen, tls=tls, data_dir=data_dir, name=role.value, bus=bus
    )


@asynccontextmanager
async def all_in_one(
    data_dir: Path, tls: Tls = NO_TLS, bus: str = "", port: int = 0, **more: Any
) -> AsyncIterator[Mesh]:
    """Every service in one server; messages between them are handed over. `more` is further
    configuration."""
    config = replace(_config(Role.ALL, data_dir, tls, bus), **more)
    config = replace(config, listen=replace(config.listen, grpc_port=port))
    async with serve(config.listen, build_all(config), tls) as server:
        yield Mesh(server.address, server.address, server.address, [server])


@asynccontextmanager
async def separate(data_dir: Path, tls: Tls = NO_TLS, bus: str = "") -> AsyncIterator[Mesh]:
    """A server for each service; everything between them goes over gRPC."""
    async with AsyncExitStack() as stack:
        config = _config(Role.SCHEDULER, data_dir, tls, bus)
        scheduler = await stack.enter_async_context(
            serve(config.listen, build_scheduler(config), tls)
        )
        config = replace(
            _config(Role.REGISTRY, data_dir, tls), scheduler_targets=(scheduler.address,)
        )
        registry = await stack.enter_async_context(
            serve(config.listen, build_registry(config), tls)
        )
        config = replace(
            _config(Role.EXECUTOR, data_dir, tls, bus),
            scheduler_targets=(scheduler.address,),
            registry_targets=(registry.address,),
        )
        executor = await stack.enter_async_context(
            serve(config.listen, build_executor(config), tls)
        )
        servers = [scheduler, registry, executor]
        yield Mesh(scheduler.address, executor.address, registry.address, servers)


Start = Callable[..., AbstractAsyncContextManager[Mesh]]
SHAPES: dict[str, Start] = {"all-in-one": all_in_one, "separate": separate}
