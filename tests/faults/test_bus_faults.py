"""Schedulers that die while they publish: no event is missing, none out of order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from muster.agent import Ask, Client, Host, connect
from muster.backends.ledger_base import Ledger
from muster.backends.postgres.database import Database
from muster.backends.postgres.ledger import PostgresLedger
from muster.backends.sqlite.ledger import SqliteLedger
from muster.failpoints import EXIT_CRASHED
from muster.model.errors import NotFound
from muster.servers.server import ServerProcess
from tests.support.bus import Seen, differences, drained
from tests.support.failpoints import failing
from tests.support.meshes import running
from tests.support.processes import MeshProcesses, Process, machine, until
from tests.support.sample_agents import sample

CONTRACTS = 400


@asynccontextmanager
async def client_of(mesh: MeshProcesses) -> AsyncIterator[Client]:
    """A client of it, and an agent."""
    host = Host([sample], target=mesh.address("executor"), name="host", leave_seconds=1.0)
    async with running(host), connect(mesh.address("scheduler")) as client:
        if len(mesh.services) == 1:
            yield client
            return
        numbers = itertools.count()

        async def is_known() -> bool:
            try:
                await ask(client, f"warm-{next(numbers)}", 100)
            except NotFound:  # by a scheduler to which no executor has come yet
                return False
            return True

        await until(is_known, 20, "every scheduler knows the agent")
        yield client


async def ask(client: Client, prefix: str, count: int = CONTRACTS) -> None:
    async with asyncio.timeout(40):
        asks = [
            Ask("demo.echo", {"text": str(n)}, request_id=f"{prefix}-{n}") for n in range(count)
        ]
        await client.gather(asks)


async def ids_of(client: Client) -> list[str]:
    return [each.id async for each in client.list()]


async def asking_until_dead(client: Client, process: Process) -> int:
    """Returns how many contracts that were."""
    rounds = 0
    while process.exit_code is None:
        rounds += 1
        await ask(client, f"round-{rounds}", 50)
    return rounds * 50


async def assert_same(seen: Seen, ledger: Ledger, ids: list[str]) -> None:
    """What was seen is exactly what the ledger has, and nobody else's."""
    await ledger.connect()
    try:
        assert set(seen.by_contract) == set(ids)
        assert await differences(seen, ledger, ids) == []
        assert all(found == list(range(1, len(found) + 1)) for found in seen.sequences().values())
    finally:
        await ledger.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["published_unmarked", "events_unpublished"])
async def test_a_scheduler_that_dies_while_it_publishes_leaves_no_gap(
    point: str, tmp_path: Path, nats_process: ServerProcess
) -> None:
    url = nats_process.server.url
    bus = {"MUSTER_BUS": url}
    with failing(f"{point}=crash@2", tmp_path / "reached") as armed:
        async with machine(tmp_path) as started:
            mesh = MeshProcesses(started, "all-in-one", tmp_path / "data", armed.environment | bus)
            await mesh.start()
            async with client_of(mesh) as client:
                async with asyncio.TaskGroup() as group:
                    asking = group.create_task(asking_until_dead(client, mesh.running["mesh"]))
                    assert await mesh.running["mesh"].wait(30) == EXIT_CRASHED
                    again = MeshProcesses(started, "all-in-one", tmp_path / "data", bus)
                    again._ports = mesh._ports
                    await again.start()
                await ask(client, "after", 50)
                ids = await ids_of(client)
                assert len(ids) >= asking.result() + 50
                seen = await drained(url, len(ids))
            await again.terminate()
    await assert_same(seen, SqliteLedger(tmp_path / "data" / "ledger.db", "test"), ids)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("nats_down", [False, True], ids=["", "while-nats-is-down"])
async def test_who_takes_over_publishes_what_the_dead_one_has_not(
    nats_down: bool, tmp_path: Path, nats_process: ServerProcess, postgres_url: str
) -> None:
    url = nats_process.server.url
    told = {"MUSTER_BUS": url, "MUSTER_LEDGER": postgres_url}
    async with machine(tmp_path) as started:
        mesh = MeshProcesses(started, "replicas", tmp_path / "data", told)
        await mesh.start()
        async with client_of(mesh) as client:
            await ask(client, "a")
            if nats_down:
                await nats_process.kill()
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(ask(client, "b"))
                await mesh.kill("scheduler-1")
                await asking
            await ask(client, "c")
            if nats_down:
                await nats_process.start()
            await drained(url, len(await ids_of(client)))
            await mesh.start("scheduler-1")
            await ask(client, "d", 100)
            ids = await ids_of(client)
            assert len(ids) >= 3 * CONTRACTS + 100
            seen = await drained(url, len(ids))
        await mesh.terminate()
    await assert_same(seen, PostgresLedger(Database(postgres_url), "test"), ids)
