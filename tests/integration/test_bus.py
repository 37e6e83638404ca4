"""What happens in a mesh, as a plain NATS subscriber sees it; also while NATS fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from muster.agent import Ask, Client, connect
from muster.agent.events import BusEvent
from muster.backends.sqlite import writer
from muster.backends.sqlite.ledger import SqliteLedger
from muster.model import limits
from muster.model.errors import InvalidArgument
from muster.servers.server import ServerProcess
from tests.support.bus import DRAINED_SECONDS, Seen, differences, drained, plain_subscriber, stored
from tests.support.meshes import all_in_one
from tests.support.processes import until
from tests.support.sample_agents import sample


@asynccontextmanager
async def talking(folder: Path, url: str) -> AsyncIterator[Client]:
    """A client of a mesh with an agent, on this bus."""
    async with (
        all_in_one(folder, bus=url) as mesh,
        mesh.host(sample),
        connect(mesh.scheduler) as client,
    ):
        yield client


async def ask(client: Client, count: int) -> None:
    """So many contracts, each of which ends."""
    async with asyncio.timeout(20):
        await client.gather([Ask("demo.echo", {"text": str(n)}) for n in range(count)])


async def wrong(seen: Seen, folder: Path) -> list[str]:
    """Where that is not exactly what the ledger has of these contracts; the mesh has stopped."""
    ledger = SqliteLedger(folder / "ledger.db", "test")
    await ledger.open()
    try:
        return await differences(seen, ledger, list(seen.by_contract))
    finally:
        await ledger.close()


async def test_a_plain_subscriber_sees_every_contracts_events_in_order(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    url = nats_process.server.url
    async with plain_subscriber(url) as seen:
        async with talking(tmp_path, url) as client:
            await ask(client, 300)
            kept = await drained(url, 300)
        assert seen.events == kept.events
        assert await wrong(seen, tmp_path) == []
        assert set(seen.subjects) == {
            f"muster.default.contract.{each}.demo.echo"
            for each in ("accepted", "leased", "started", "ended")
        }


async def test_whoever_stops_publishes_what_is_left(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    async with talking(tmp_path, nats_process.server.url) as client:
        await ask(client, 100)
    seen = await stored(nats_process.server.url)
    assert seen.ended == 100
    assert await wrong(seen, tmp_path) == []
    async with talking(tmp_path, nats_process.server.url) as client:
        await ask(client, 1)
    again = await stored(nats_process.server.url)
    assert len(again.events) == len(seen.events) + 4, "what was published is not published again"


async def test_submits_go_on_while_nats_is_down_and_nothing_is_missing_after(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    url = nats_process.server.url
    async with talking(tmp_path, url) as client:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask(client, 250))
            await nats_process.kill()
        await ask(client, 200)
        await nats_process.start()
        await ask(client, 50)
        seen = await drained(url, 500)
    assert await wrong(seen, tmp_path) == []


async def test_a_bus_whose_data_is_wiped_gets_all_that_it_has_not_acknowledged(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    url = nats_process.server.url
    async with talking(tmp_path, url) as client:
        await ask(client, 50)
        await drained(url, 50)
        async with asyncio.TaskGroup() as group:
            group.create_task(ask(client, 200))
            await nats_process.kill()
        await ask(client, 200)
        shutil.rmtree(nats_process.server.folder / "jetstream")
        await nats_process.start()
        await ask(client, 50)
        ids = [each.id async for each in client.list()]
        sequences: dict[str, list[int]] = {}

        async def is_there() -> bool:
            nonlocal sequences
            sequences = (await stored(url)).sequences()
            later = all(sequences.get(name) == [1, 2, 3, 4] for name in ids[:250])
            # Of what was under way at the blow, some events were acknowledged before it.
            return later and all(found[-1] == 4 for found in sequences.values())

        await until(is_there, DRAINED_SECONDS, "everything that was not acknowledged is there")
    assert all(found == list(range(found[0], 5)) for found in sequences.values())
    assert not sequences.keys() & set(ids[-50:])


async def test_a_bus_that_hangs_holds_up_nobody(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    url = nats_process.server.url
    async with talking(tmp_path, url) as client:
        await ask(client, 10)
        await drained(url, 10)
        assert nats_process.pid is not None
        os.kill(nats_process.pid, signal.SIGSTOP)
        try:
            for _ in range(5):
                await ask(client, 50)
        finally:
            os.kill(nats_process.pid, signal.SIGCONT)
        seen = await drained(url, 260)
    assert await wrong(seen, tmp_path) == []


async def test_more_than_fits_into_memory_is_read_from_the_ledger(
    tmp_path: Path, nats_process: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BUS_UNPUBLISHED_MAX", 30)
    monkeypatch.setattr(limits, "BUS_BATCH_MAX", 20)
    monkeypatch.setattr(limits, "WATCHER_BACKLOG_MAX", 50)
    url = nats_process.server.url
    await nats_process.kill()
    async with talking(tmp_path, url) as client:
        await ask(client, 400)
        await nats_process.start()
        for _ in range(5):
            await ask(client, 20)
        seen = await drained(url, 500)
    assert await wrong(seen, tmp_path) == []


async def test_a_mesh_that_starts_without_its_bus_publishes_from_the_beginning(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    url = nats_process.server.url
    async with talking(tmp_path, "") as client:
        await ask(client, 30)
    await nats_process.kill()
    async with talking(tmp_path, url) as client:
        await ask(client, 30)
    await nats_process.start()
    async with talking(tmp_path, url):
        seen = await drained(url, 60)
    assert await wrong(seen, tmp_path) == []


async def test_a_bus_that_is_away_for_too_long_is_told_that_events_are_missing(
    tmp_path: Path, nats_process: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "OUTBOX_TRIM_EVERY", 5)
    monkeypatch.setattr(writer, "OUTBOX_COMMITS_KEPT_MAX", 5)
    monkeypatch.setattr(writer, "OUTBOX_UNPUBLISHED_COMMITS_KEPT_MAX", 10)
    url = nats_process.server.url
    async with talking(tmp_path, url) as client:
        await ask(client, 3)
        await drained(url, 3)
    await nats_process.kill()
    async with talking(tmp_path, url) as client:
        for _ in range(15):
            await ask(client, 1)
    await nats_process.start()
    async with talking(tmp_path, url):

        async def told() -> bool:
            return bool((await stored(url, "muster.default.gap")).events)

        await until(told, DRAINED_SECONDS, "the gap is told")
    gaps = (await stored(url, "muster.*.gap")).events
    assert [each["type"] for each in gaps] == ["dev.muster.v1.gap"]
    after = int(gaps[0]["data"]["resumeAt"]["positions"]["0"])
    seen = await stored(url)
    assert 3 < seen.ended < 18
    ledger = SqliteLedger(tmp_path / "ledger.db", "test")
    opening = await ledger.open()
    assert 0 < after < opening.position
    await ledger.close()


async def test_a_replay_refills_subscribers_of_a_bus_that_was_wiped(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    url = nats_process.server.url
    async with talking(tmp_path, url) as client:
        before = time.time() - 1
        await ask(client, 450)
        await drained(url, 450)
        await nats_process.kill()
        shutil.rmtree(nats_process.server.folder / "jetstream")
        await nats_process.start()
        reached = [each async for each in client.replay_events(before)]
        assert reached[-1] == (450, 1800)
        assert len(reached) > 1, "it tells how far it is"
        seen = await drained(url, 450)
        again = [each async for each in client.replay_events(before)]
        assert again[-1] == (450, 1800)
        assert len((await stored(url)).events) == 1800, "what is there is not there twice"
        assert [each async for each in client.replay_events(time.time() + 60)] == [(0, 0)] * 3
    assert await wrong(seen, tmp_path) == []


@pytest.fixture(params=["embedded", "nats"])
def bus_url(request: pytest.FixtureRequest) -> str:
    if request.param == "embedded":
        return ""
    server: ServerProcess = request.getfixturevalue("nats_server")
    return server.server.url


async def test_clients_follow_the_bus_through_the_mesh(tmp_path: Path, bus_url: str) -> None:
    began = time.time() - 0.1
    async with talking(tmp_path, bus_url) as client:
        await ask(client, 10)

        async def first() -> BusEvent:
            return await anext(client.events("contract.ended.>"))

        async with asyncio.TaskGroup() as group:
            live = group.create_task(first())
            while not live.done():
                await ask(client, 1)
                await asyncio.wait([live], timeout=0.05)
        assert live.result().subject == "muster.default.contract.ended.demo.echo"
        ids = {each.id async for each in client.list()}
        seen: dict[str, list[int]] = {}
        async for event in client.events(since=began):
            assert event.event["id"] == event.id
            if event.event["subject"] in ids:
                seen.setdefault(event.event["subject"], []).append(event.event["data"]["sequence"])
            if len(seen) == len(ids) and all(len(each) == 4 for each in seen.values()):
                break
        assert set(map(tuple, seen.values())) == {(1, 2, 3, 4)}


async def test_a_tenant_sees_its_own_events_only(tmp_path: Path, bus_url: str) -> None:
    async with all_in_one(tmp_path, bus=bus_url) as mesh:
        began = time.time() - 0.1
        async with (
            mesh.host(sample, name="a", tenant="acme"),
            mesh.host(sample, name="b", tenant="other"),
            connect(mesh.scheduler, tenant="acme") as acme,
            connect(mesh.scheduler, tenant="other") as other,
        ):
            await ask(other, 3)
            await ask(acme, 1)
            (mine,) = [each.id async for each in acme.list()]
            async for event in acme.events("contract.>", since=began):
                assert event.subject.startswith("muster.acme.")
                assert event.event["source"] == "/tenants/acme"
                if event.id == f"{mine}-4":
                    break
            for pattern in ("a..b", "Contract.>", "a.>.b", "ä"):
                with pytest.raises(InvalidArgument, match="pattern"):
                    await anext(acme.events(pattern))
