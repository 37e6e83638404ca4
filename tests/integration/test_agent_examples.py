"""The examples, as somebody would run them: each a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from muster.agent import Agent, Client, Event, connect
from tests.sources import ROOT
from tests.support.meshes import all_in_one
from tests.support.processes import until
from tests.support.scripted_mesh import ScriptedMesh, scripted_mesh

EXAMPLES = ROOT / "agents" / "examples"


@pytest.fixture
async def mesh() -> AsyncIterator[ScriptedMesh]:
    async with scripted_mesh() as mesh:
        yield mesh


@asynccontextmanager
async def example(
    name: str, target: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs an example until the block ends, and expects that it is still there then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        env={**os.environ, "MUSTER_ADDRESS": target, **environment},
    )
    try:
        yield process
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_ten_line_agent_serves_and_leaves_in_good_order(mesh: ScriptedMesh) -> None:
    async with example("ten_lines.py", mesh.target) as process, connect(mesh.target) as client:
        assert await client.call("text.shout", {"text": "hello"}) == "HELLO!"
    assert process.returncode == 0


async def test_an_agent_on_bare_stubs_serves(mesh: ScriptedMesh) -> None:
    async with example("bare_stubs.py", mesh.target), connect(mesh.target) as client:
        texts = [str(number) for number in range(20)]
        results = await asyncio.gather(
            *(client.call("text.reverse", {"text": f"{text}!"}) for text in texts)
        )
        assert results == [f"!{text[::-1]}" for text in texts]


async def test_an_agent_on_bare_stubs_keeps_its_work_while_the_mesh_restarts(
    mesh: ScriptedMesh,
) -> None:
    slow = example("bare_stubs.py", mesh.target, REVERSER_SECONDS="0.5")
    async with slow, connect(mesh.target) as client:
        handle = await client.submit("text.reverse", {"text": "abc"})
        await mesh.until(lambda: mesh.sessions)
        await mesh.until(lambda: any(f.heartbeat.held for f in mesh.sessions[0].frames))
        await mesh.stop()
        await mesh.start()
        assert await handle.result() == "cba"
    (contract,) = mesh.contracts.values()
    assert contract.attempts == 1
    assert [held.key.epoch for held in mesh.sessions[1].hello.held] == [contract.epoch]


async def test_an_agent_on_bare_stubs_reports_again_until_it_is_acknowledged(
    mesh: ScriptedMesh,
) -> None:
    mesh.acknowledges = False
    async with example("bare_stubs.py", mesh.target), connect(mesh.target) as client:
        handle = await client.submit("text.reverse", {"text": "abc"})
        await mesh.until(lambda: mesh.reports)
        await mesh.stop()
        mesh.acknowledges = True
        await mesh.start()
        assert await handle.result() == "cba"


async def test_agents_tell_each_other_what_happens(tmp_path: Path) -> None:
    heard: list[Event] = []
    reader = Agent("reader")

    @reader.on("parcels.>")
    async def read(event: Event) -> None:
        heard.append(event)

    async with (
        all_in_one(tmp_path) as mesh,
        mesh.host(reader),
        example("events.py", mesh.executor) as process,
        connect(mesh.scheduler) as client,
    ):
        assert await ordered(client, "tea") == "tea is ordered"
        assert await ordered(client, "jam") == "jam is ordered"
        await until(lambda: len(heard) == 2, 10, "both are packed")
    assert sorted(each.data["item"] for each in heard) == ["jam", "tea"]
    assert {each.source for each in heard} <= {f"/tenants/default/agents/clerk-{n}" for n in (1, 2)}
    assert process.returncode == 0


async def ordered(client: Client, item: str) -> object:
    """Once the example is there."""

    async def is_known() -> bool:
        return bool([each async for each in client.agents(capability="orders.place")])

    await until(is_known, 10, "the shop is open")
    return await client.call("orders.place", {"item": item})
