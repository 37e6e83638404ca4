"""Consul as the directory: who serves is there, who is there is found, and nothing waits for it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil
import pytest

from muster.agent import Agent, Host, connect
from muster.model import limits
from muster.model.errors import Unavailable
from muster.runtime.config import Role
from muster.servers.server import ServerProcess
from tests.support.found_meshes import FoundMesh, consul, found_mesh, listed
from tests.support.meshes import running
from tests.support.processes import MeshProcesses, machine, until
from tests.support.sample_agents import sample

BACK_SECONDS = 15.0  # promised: everything is registered again so soon after Consul is back


def agents(count: int, prefix: str = "agent") -> list[Agent]:
    made = []
    for number in range(count):
        agent = Agent(f"{prefix}-{number}", kind="test", version="1.2", labels={"zone": "lab"})

        @agent.capability("test.echo")
        async def echo(text: str) -> str:
            return text

        made.append(agent)
    return made


class Consul:
    """A server, as its own API shows it."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.address = process.server.address

    async def lists(self, kind: str, expected: Mapping[str, str], seconds: float = 10.0) -> None:
        """Returns when Consul has exactly these of a kind, in these states."""
        last: list[Mapping[str, str]] = []

        async def holds() -> bool:
            last[:] = [await asyncio.to_thread(listed, self.address, kind)]
            return last == [expected]

        try:
            await until(holds, seconds, f"Consul lists {expected}")
        except AssertionError as error:
            raise AssertionError(f"{error}; last {last}") from None

    async def lists_all(self, mesh: FoundMesh, seconds: float = 10.0) -> None:
        """Returns when every service is there and passes."""
        for role in ("scheduler", "registry", "executor"):
            names = [name for name in mesh.servers if name.startswith(role)]
            await self.lists(role, dict.fromkeys(names, "passing"), seconds)

    async def restart_empty(self) -> None:
        """It comes back on a new, empty disk."""
        await self.process.kill()
        shutil.rmtree(self.process.server.folder / "data")
        await self.process.start()


@pytest.fixture
def server(consul_process: ServerProcess) -> Consul:
    return Consul(consul_process)


@pytest.fixture
async def mesh(server: Consul, tmp_path: Path) -> AsyncIterator[FoundMesh]:
    """A scheduler, and two registries and executors."""
    async with found_mesh(tmp_path / "mesh", server.process.server.url, replicas=2) as made:
        await server.lists_all(made)
        yield made


async def works(mesh: FoundMesh, count: int = 10) -> None:
    async with asyncio.timeout(20), connect(mesh.mesh().scheduler) as client:
        for number in range(count):
            assert await client.call("test.echo", {"text": str(number)}) == str(number)


async def presence(mesh: FoundMesh, registry: str) -> set[str]:
    async with connect(mesh.servers[registry].address) as client:
        return {agent.spec.name async for agent in client.agents()}


async def test_services_that_know_only_the_directory_are_a_mesh(
    mesh: FoundMesh, server: Consul
) -> None:
    async with mesh.mesh(2).host(*agents(3), sample):
        await works(mesh)
        async with connect(mesh.mesh().scheduler) as client:  # the host is told of the scheduler
            assert await client.call("demo.descend", {"levels": 3}, timeout=10) == 3
        names = {"sample", *(f"agent-{number}" for number in range(3))}
        for registry in ("registry-1", "registry-2"):

            async def all_there(registry: str = registry) -> bool:
                return await presence(mesh, registry) == names

            await until(all_there, 10, f"{registry} has every agent")

            async def all_known(registry: str = registry) -> bool:
                async with connect(mesh.servers[registry].address) as client:
                    known = {each.capability.name async for each in client.capabilities()}
                return {"test.echo", "demo.descend"} <= known

            await until(all_known, 10, f"{registry} has the catalogue")
        await server.lists("agent", dict.fromkeys(names, "passing"))
        services = await asyncio.to_thread(consul, server.address, "agent/services")
    meta = services["muster-agent:default:agent-1"]["Meta"]
    assert meta.pop("owner") in ("registry-1", "registry-2")
    assert meta.pop("digest")
    assert meta == {
        "name": "agent-1",
        "tenant": "default",
        "kind": "test",
        "version": "1.2",
        "host": "host",
        "capabilities": "test.echo@1.0.0",
        "zone": "lab",
    }
    meta = services["muster-scheduler:scheduler-1"]["Meta"]
    assert {key: meta[key] for key in ("name", "kind", "zone", "owner")} == {
        "name": "scheduler-1",
        "kind": "scheduler",
        "zone": "test",
        "owner": "scheduler-1",
    }
    assert meta["version"]
    await server.lists("agent", {})


async def test_registries_share_the_agents_and_take_over_from_each_other(
    mesh: FoundMesh, server: Consul
) -> None:
    names = dict.fromkeys((f"agent-{number}" for number in range(40)), "passing")

    async def owners() -> set[str]:
        services = await asyncio.to_thread(consul, server.address, "agent/services")
        return {
            each["Meta"]["owner"] for each in services.values() if each["Service"] == "muster-agent"
        }

    async with mesh.mesh(1).host(*agents(40)):
        await server.lists("agent", names)

        async def shared() -> bool:
            return await owners() == {"registry-1", "registry-2"}

        await until(shared, 10, "both registries have some")
        await mesh.servers.pop("registry-2").stop()
        await server.lists("registry", {"registry-1": "passing"})

        async def alone() -> bool:
            return await owners() == {"registry-1"}

        await until(alone, 10, "one has them all")
        # Nobody took out what the other had taken over meanwhile.
        assert await asyncio.to_thread(listed, server.address, "agent") == names
        again = await mesh.start(Role.REGISTRY, 2)
        try:
            await until(shared, 15, "both have some again")
            await server.lists("agent", names)
        finally:
            await again.stop()
            del mesh.servers["registry-2"]


async def test_a_consul_that_is_killed_and_comes_back_empty_costs_nothing(
    mesh: FoundMesh, server: Consul
) -> None:
    names = dict.fromkeys((f"agent-{number}" for number in range(20)), "passing")
    async with mesh.mesh(1).host(*agents(20)):
        await server.lists("agent", names)
        await server.process.kill()
        await works(mesh)
        await server.restart_empty()
        async with asyncio.timeout(BACK_SECONDS):
            await server.lists_all(mesh, BACK_SECONDS)
            await server.lists("agent", names, BACK_SECONDS)
        await works(mesh)


async def test_a_mesh_that_starts_before_its_consul_finds_itself_when_it_comes(
    server: Consul, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await server.process.kill()
    async with found_mesh(tmp_path / "mesh", server.process.server.url) as mesh:
        await server.process.start()
        await server.lists_all(mesh, BACK_SECONDS)
        # Once each, and perhaps once more: while it chooses a leader, it may answer in between.
        said = capsys.readouterr().out.count("the directory cannot be used")
        assert len(mesh.servers) <= said <= 2 * len(mesh.servers)
        async with mesh.mesh().host(*agents(2)):
            await works(mesh)
    for role in ("scheduler", "registry", "executor"):
        await server.lists(role, {})


async def test_past_the_limit_hosts_are_registered_instead_of_agents(
    server: Consul, tmp_path: Path
) -> None:
    url = server.process.server.url
    eight = {f"agent-{number}": "passing" for number in range(8)}
    async with (
        found_mesh(tmp_path / "mesh", url, directory_agents_max=10) as mesh,
        mesh.mesh().host(*agents(8), name="first"),
    ):
        await server.lists("agent", eight)
        async with mesh.mesh().host(*agents(8, "more"), name="second"):
            await server.lists("host", {"first": "passing", "second": "passing"})
            await server.lists("agent", {})
            services = await asyncio.to_thread(consul, server.address, "agent/services")
            assert services["muster-registry:registry-1"]["Meta"]["registers"] == "each host"
        await server.lists("agent", eight)
        await server.lists("host", {})


async def test_what_is_killed_is_dropped_and_what_comes_back_is_listed(
    server: Consul, tmp_path: Path
) -> None:
    told = {"MUSTER_DIRECTORY": server.process.server.url, "MUSTER_DIRECTORY_PROBE_SECONDS": "0.5"}
    nowhere = {"MUSTER_SCHEDULER_TARGETS": "", "MUSTER_REGISTRY_TARGETS": ""}
    async with machine(tmp_path) as started:
        mesh = MeshProcesses(started, "separate", tmp_path / "mesh", told | nowhere)
        await mesh.start()
        for role in ("scheduler", "registry", "executor"):
            await server.lists(role, {role: "passing"})
        host = await started.start(
            "host", "agents/examples/ten_lines.py", environment=mesh.environment()
        )
        await server.lists("agent", {"shouter": "passing"})
        await host.kill()
        await server.lists("agent", {})  # after the grace in which it could have come back
        for role in ("executor", "registry", "scheduler"):
            await mesh.kill(role)
            await server.lists(role, {role: "critical"})
        await mesh.start()
        for role in ("scheduler", "registry", "executor"):
            await server.lists(role, {role: "passing"})
        assert await mesh.terminate() == [0, 0, 0]
        for role in ("scheduler", "registry", "executor"):
            await server.lists(role, {})


async def test_clients_and_hosts_need_no_more_than_the_directory(
    mesh: FoundMesh, server: Consul
) -> None:
    url = server.process.server.url
    host = Host(agents(1), target=url, name="host", leave_seconds=1.0)
    async with running(host), connect(url) as client:
        assert await client.call("test.echo", {"text": "x"}, timeout=10) == "x"
        # The executor that holds the session goes: the host finds the other one.
        holder: list[str] = []

        async def seen() -> bool:
            holder[:] = [agent.executor async for agent in client.agents()]
            return len(holder) == 1

        await until(seen, 10, "a registry has the agent")
        await mesh.servers.pop(holder[0]).stop()
        assert await client.call("test.echo", {"text": "y"}, timeout=20) == "y"
        # The scheduler comes back at another port: the client that it had finds it there.
        await mesh.servers["scheduler-1"].stop()
        await mesh.start(Role.SCHEDULER)
        assert await client.call("test.echo", {"text": "z"}, timeout=20) == "z"
        # Whoever has found his mesh once needs no Consul to find it again.
        await server.process.kill()
        async with connect(url) as another:
            assert await another.call("test.echo", {"text": "!"}, timeout=20) == "!"
    await mesh.servers["scheduler-1"].stop()


async def test_a_client_without_its_directory_fails_as_without_its_mesh(server: Consul) -> None:
    await server.process.kill()
    async with asyncio.timeout(20), connect(server.process.server.url) as client:
        with pytest.raises(Unavailable):
            await client.statistics()


async def test_a_mesh_of_one_process_is_found_as_each_of_its_services(
    server: Consul, tmp_path: Path
) -> None:
    url = server.process.server.url
    mesh = FoundMesh(tmp_path / "mesh", url)
    one = await mesh.start(Role.ALL)
    try:
        for role in ("scheduler", "registry", "executor"):
            await server.lists(role, {"all-1": "passing"})
        host = Host(agents(1), target=url, name="host", leave_seconds=1.0)
        async with running(host), connect(url) as client:
            assert await client.call("test.echo", {"text": "x"}, timeout=10) == "x"
            await server.lists("agent", {"agent-0": "passing"})
    finally:
        await one.stop()
    for role in ("scheduler", "registry", "executor", "agent"):
        await server.lists(role, {})


async def test_a_consul_that_hangs_holds_nothing_up(mesh: FoundMesh, server: Consul) -> None:
    pid = server.process.pid
    assert pid is not None
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    async with mesh.mesh(1).host(*agents(1)):
        await works(mesh)
        for process in processes:
            process.suspend()
        try:
            await works(mesh)
            async with asyncio.timeout(limits.SERVICE_STOP_SECONDS):
                await mesh.servers["registry-2"].stop()
            await works(mesh)
        finally:
            for process in processes:
                process.resume()
