"""Two of every service, in one process for a test, on a ledger that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import grpc

from muster.executor.__main__ import build as build_executor
from muster.model.ids import IdMaker, format_id
from muster.model.limits import SHARDS
from muster.registry.__main__ import build as build_registry
from muster.runtime.config import Config, Listen, Role, Tls, default_config
from muster.runtime.serve import NO_TLS, Server, serve
from muster.scheduler.__main__ import build as build_scheduler
from muster.v1.scheduler_service_pb2 import GetContractRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from tests.support.meshes import Mesh
from tests.support.processes import until
from tests.support.servers import own_server


@dataclass(frozen=True)
class Replicas:
    """Where they are. `mesh(n)` is what a client or host sees that knows only the n-th of each."""

    ledger: str
    tls: Tls
    schedulers: Sequence[Server]
    registries: Sequence[Server]
    executors: Sequence[Server]

    def mesh(self, number: int) -> Mesh:
        """The services number `number` from 0."""
        servers = [each[number] for each in (self.schedulers, self.executors, self.registries)]
        scheduler, executor, registry = (server.address for server in servers)
        return Mesh(scheduler, executor, registry, servers)

    async def shared_by(self, count: int) -> None:
        """Returns when so many schedulers have the shards, each its share."""
        connection = await asyncpg.connect(self.ledger)
        try:

            async def holds() -> bool:
                rows = await connection.fetch("SELECT owner, count(*) FROM shards GROUP BY owner")
                share = -(-SHARDS // count)
                return len(rows) == count and all(row[0] and row[1] <= share for row in rows)

            await until(holds, 15, f"{count} schedulers share the shards")
        finally:
            await connection.close()
        if self.tls == NO_TLS:  # else it is no service that may ask, and its test waits by itself
            for scheduler in self.schedulers:
                await _knows_every_owner(scheduler.address)

    async def add_scheduler(self, stack: AsyncExitStack, data_dir: Path) -> Server:
        """One more, which is there until the stack is left."""
        made = _config(Role.SCHEDULER, len(self.schedulers), data_dir, self.ledger)
        return await stack.enter_async_context(serve(made.listen, build_scheduler(made)))


async def _knows_every_owner(scheduler: str) -> None:
    """Returns when the scheduler can say of every shard who owns it, and that one agrees."""
    async with open_channel(scheduler, retries=False) as channel:
        stub = SchedulerServiceStub(channel)

        async def answers(shard: int) -> bool:
            nobodys = format_id(IdMaker().make(shard, 0))
            try:
                await stub.GetContract(GetContractRequest(contract_id=nobodys))
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.NOT_FOUND
            return False

        for shard in range(SHARDS):
            await until(partial(answers, shard), 15, f"shard {shard} has an owner")


def _config(role: Role, number: int, data_dir: Path, ledger: str, **more: Any) -> Config:
    listen = Listen(grpc_port=0, http_port=None, drain_seconds=0.5)
    name = f"{role.value}-{number}"
    return replace(
        default_config(role), listen=listen, data_dir=data_dir, name=name, ledger=ledger, **more
    )


@asynccontextmanager
async def replicas(
    data_dir: Path, ledger: str, count: int = 2, tls: Tls = NO_TLS, **more: Any
) -> AsyncIterator[Replicas]:
    """`count` of each service. `more` is further configuration."""

    def config(role: Role, number: int) -> Config:
        return _config(role, number, data_dir, ledger, tls=tls, **more)

    async with AsyncExitStack() as stack:
        schedulers: list[Server] = []
        for number in range(count):
            made = config(Role.SCHEDULER, number)
            schedulers.append(
                await stack.enter_async_context(serve(made.listen, build_scheduler(made), tls))
            )
        targets = tuple(each.address for each in schedulers)
        registries: list[Server] = []
        for number in range(count):
            made = replace(config(Role.REGISTRY, number), scheduler_targets=targets)
            registries.append(
                await stack.enter_async_context(serve(made.listen, build_registry(made), tls))
            )
        executors: list[Server] = []
        for number in range(count):
            made = replace(
                config(Role.EXECUTOR, number),
                scheduler_targets=targets,
                registry_targets=tuple(each.address for each in registries),
            )
            executors.append(
                await stack.enter_async_context(serve(made.listen, build_executor(made), tls))
            )
        yield Replicas(ledger, tls, schedulers, registries, executors)


@asynccontextmanager
async def replicated(data_dir: Path, ledger: str, directory: str) -> AsyncIterator[Mesh]:
    """Two of each service on all servers, NATS their own, as somebody sees them who knows both."""
    async with (
        own_server("nats", data_dir) as nats,
        replicas(data_dir, ledger, bus=nats.server.url, directory=directory) as made,
    ):
        await made.shared_by(2)
        groups = (made.schedulers, made.executors, made.registries)
        scheduler, executor, registry = (
            ",".join(each.address for each in group) for group in groups
        )
        servers = [server for group in groups for server in group]
        yield Mesh(scheduler, executor, registry, servers)
