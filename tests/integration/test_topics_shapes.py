"""Events over services of their own, with and without NATS, and while some of it fails."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from muster.agent import Agent, Event, Host, connect
from muster.model.errors import Code, MusterError
from muster.servers.server import ServerProcess
from tests.support.identities import Pki, environment
from tests.support.meshes import running, separate
from tests.support.processes import MeshProcesses, machine, until
from tests.support.topics import Heard, listener, publisher


@pytest.fixture(params=["embedded", "nats"])
def bus_url(request: pytest.FixtureRequest) -> str:
    """Of the bus; empty for the one within the scheduler."""
    if request.param == "embedded":
        return ""
    server: ServerProcess = request.getfixturevalue("nats_process")
    return server.server.url


@asynccontextmanager
async def hosts(target: str, *agents: Agent) -> AsyncIterator[list[Host]]:
    """A host for each agent."""
    async with AsyncExitStack() as stack:
        made = []
        for agent in agents:
            made.append(Host([agent], target=target, name=f"of-{agent.name}", leave_seconds=1.0))
            await stack.enter_async_context(running(made[-1]))
        yield made


async def test_services_of_their_own_have_events_as_well(tmp_path: Path, bus_url: str) -> None:
    everybody = [listener(f"listener-{n}") for n in range(3)]
    workers = [listener(f"worker-{n}", kind="workers", competing=True) for n in range(3)]
    async with (
        separate(tmp_path, bus=bus_url) as mesh,
        hosts(mesh.executor, publisher, *(agent for agent, _ in (*everybody, *workers))),
        connect(mesh.scheduler) as client,
    ):
        await client.call("test.publish", {"topic": "orders.a", "numbers": [*range(300)]})
        for _, heard in everybody:
            await heard.wait_for(300)
            assert heard.data == [{"n": number} for number in range(300)]

        async def all_are_heard() -> bool:
            return sum(len(heard.events) for _, heard in workers) >= 300

        await until(all_are_heard, 10, "all are heard")
        found = Counter(each.data["n"] for _, heard in workers for each in heard.events)
        assert found == Counter(range(300))
        late, heard = listener("late", since=1.0)
        async with hosts(mesh.executor, late):
            await heard.wait_for(300)
        assert heard.data == [{"n": number} for number in range(300)]


@asynccontextmanager
async def two_executors(folder: Path, url: str) -> AsyncIterator[MeshProcesses]:
    """Processes: a scheduler, a registry, two executors."""
    async with machine(folder) as started:
        told = {"MUSTER_BUS": url} if url else {}
        mesh = MeshProcesses(started, "two-executors", folder / "data", told)
        await mesh.start()
        yield mesh
        await mesh.terminate()


@pytest.mark.timeout(120)
async def test_executors_die_and_no_agent_misses_an_event(tmp_path: Path, bus_url: str) -> None:
    everybody = [listener(f"listener-{n}") for n in range(4)]
    workers = [listener(f"worker-{n}", kind="workers", competing=True) for n in range(4)]
    agents = (publisher, *(agent for agent, _ in (*everybody, *workers)))
    async with (
        two_executors(tmp_path, bus_url) as mesh,
        hosts(mesh.address("executor"), *agents),
    ):
        numbers = range(200)
        for number in numbers:
            await publisher.publish("orders.a", {"n": number}, timeout=30)
            if number == 50:
                await mesh.kill("executor-1")
            if number == 100:
                await mesh.start("executor-1")
            if number == 150:
                await mesh.kill("executor-2")
                await mesh.start("executor-2")

        async def all_are_heard() -> bool:
            return {each.data["n"] for _, heard in workers for each in heard.events} == {*numbers}

        await until(all_are_heard, 30, "the workers have heard all of them")
        for _, heard in everybody:

            async def has_the_last(heard: Heard = heard) -> bool:
                return bool(heard.events) and heard.events[-1].data["n"] == numbers[-1]

            await until(has_the_last, 20, "each agent has heard the last one")
            assert [each.data["n"] for each in heard.events] == [*numbers], "each once, in order"


@pytest.mark.timeout(120)
async def test_a_bus_that_is_away_costs_publishers_an_error_and_nobody_else_anything(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    agent, heard = listener("listener")
    worker, shared = listener("worker", kind="workers", competing=True)

    @agent.capability("test.other")
    async def other() -> str:
        return "done"

    async with (
        separate(tmp_path, bus=nats_process.server.url) as mesh,
        hosts(mesh.executor, publisher, agent, worker),
        connect(mesh.scheduler) as client,
    ):
        await publisher.publish("orders.a", {"n": 1})
        await heard.wait_for(1)
        await nats_process.kill()
        began = time.monotonic()
        with pytest.raises(MusterError, match="the bus does not answer") as refused:
            await publisher.publish("orders.a", {"n": 2}, id="two", timeout=7)
        assert refused.value.code is Code.UNAVAILABLE
        assert time.monotonic() - began < 9
        for _ in range(20):
            assert await client.call("test.other", {}) == "done"
        late, after = listener("late")
        async with AsyncExitStack() as stack:
            async with asyncio.TaskGroup() as group:
                group.create_task(publisher.publish("orders.a", {"n": 3}, timeout=30))
                # Its attach does not wait for ever.
                await stack.enter_async_context(hosts(mesh.executor, late))
                await nats_process.start()
            await publisher.publish("orders.a", {"n": 4})

            async def all_have_heard() -> bool:
                return all(each.data["n"] == 4 for each in last_of(heard, shared, after))

            await until(all_have_heard, 20, "everybody hears again")
        assert [each.data["n"] for each in heard.events if each.data["n"] != 2] == [1, 3, 4]


def last_of(*all_heard: Heard) -> list[Event]:
    """The last of each; something else where there is none."""
    nothing = Event("", "", "", "", {"n": 0})
    return [heard.events[-1] if heard.events else nothing for heard in all_heard]


@pytest.mark.timeout(120)
async def test_a_bus_that_has_lost_everything_goes_on_from_its_beginning(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    agent, heard = listener("listener")
    worker, shared = listener("worker", kind="workers", competing=True)
    async with (
        separate(tmp_path, bus=nats_process.server.url) as mesh,
        hosts(mesh.executor, publisher, agent, worker),
    ):
        for number in range(20):
            await publisher.publish("orders.a", {"n": number})
        await heard.wait_for(20)
        await shared.wait_for(20)
        await nats_process.kill()
        shutil.rmtree(nats_process.server.folder / "jetstream")
        await nats_process.start()
        for number in range(20, 30):
            await publisher.publish("orders.a", {"n": number}, timeout=30)

        async def all_have_heard() -> bool:
            return all(each.data["n"] == 29 for each in last_of(heard, shared))

        await until(all_have_heard, 30, "everybody hears again")
        assert [each.data["n"] for each in heard.events] == [*range(30)]
        assert {each.data["n"] for each in shared.events} == {*range(30)}


@pytest.mark.timeout(120)
async def test_a_scheduler_that_comes_back_with_an_empty_bus_is_heard_again(tmp_path: Path) -> None:
    agent, heard = listener("listener")
    worker, shared = listener("worker", kind="workers", competing=True)
    async with (
        two_executors(tmp_path, "") as mesh,
        hosts(mesh.address("executor"), publisher, agent, worker),
    ):
        await publisher.publish("orders.a", {"n": 1})
        await heard.wait_for(1)
        await shared.wait_for(1)
        await mesh.kill("scheduler")
        with pytest.raises(MusterError, match="does not answer"):
            await publisher.publish("orders.a", {"n": 2}, timeout=2)
        await mesh.start("scheduler")
        for number in range(3, 10):
            await publisher.publish("orders.a", {"n": number}, timeout=30)

        async def all_have_heard() -> bool:
            return all(each.data["n"] == 9 for each in last_of(heard, shared))

        await until(all_have_heard, 30, "everybody hears again")
        assert [each.data["n"] for each in heard.events if each.data["n"] != 2][:2] == [1, 3]


async def test_over_tls_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki = Pki.make(tmp_path)
    agent, heard = listener("teller")
    async with separate(tmp_path, pki.tls) as mesh:
        told = {**mesh.environment(), **environment(pki.caller("agent", "teller"))}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        async with running(Host([agent], name="teller", leave_seconds=1.0)):
            await agent.publish("orders.a", 1)
            await heard.wait_for(1)
            assert heard.events[0].source == "/tenants/acme/agents/teller"
