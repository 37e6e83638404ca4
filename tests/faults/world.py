"""A mesh of real processes, hosts that write down what they run, and a client that does so too."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import pytest

from muster.servers.server import ServerProcess
from muster.v1.scheduler_service_pb2 import GetStatisticsRequest
from tests.faults.proxy import Proxy, proxy_to
from tests.support.history import Fault
from tests.support.processes import Machine, MeshProcesses, Process, machine, until
from tests.support.recording_client import Recorder, recording
from tests.support.recording_host import AGENTS, GATES
from tests.support.servers import own_server

HOSTS = ("host-a", "host-b")
READY_SECONDS = 20.0
WORK_MS_MAX = 60  # of one contract of a load
IN_FLIGHT = 60  # contracts of a load


class World:
    """Everything that a test of faults works with."""

    def __init__(self, machine: Machine, mesh: MeshProcesses, recorder: Recorder) -> None:
        self.mesh = mesh
        self.recorder = recorder
        self.history = recorder.history
        self.hosts: dict[str, Process] = {}
        self.proxies: dict[str, Proxy] = {}  # by host, and "link"; see `world`
        self.backends: dict[str, ServerProcess] = {}  # servers that the mesh stands on
        self.machine = machine

    # --- hosts ------------------------------------------------------------------------------------

    async def start_hosts(self, *names: str) -> None:
        """Starts hosts, all of them if none is named, and does not wait for them."""
        for name in names or HOSTS:
            self.hosts[name] = await self.machine.start(
                name,
                *("-m", "tests.support.recording_host", name, str(self.journal(name))),
                environment=self._host_environment(name),
            )

    def _host_environment(self, name: str) -> dict[str, str]:
        places = self.mesh.environment()
        if name in self.proxies:
            places["MUSTER_EXECUTOR"] = self.proxies[name].address
        return places

    async def start_script(self, name: str, script: Path) -> Process:
        """Starts another host, which this script is."""
        environment = self.mesh.environment()
        return await self.machine.start(name, str(script), environment=environment)

    async def agents_ready(self, count: int = len(HOSTS) * AGENTS) -> None:
        """Returns when the scheduler can place on so many agents."""

        async def enough() -> bool:
            try:
                reply = await self.recorder.stub.GetStatistics(
                    GetStatisticsRequest(), wait_for_ready=True, timeout=READY_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                # One of several schedulers is gone, and the others have not missed it yet.
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False
            return reply.agents == count

        await until(enough, READY_SECONDS, f"{count} agents are connected")

    def journal(self, host: str) -> Path:
        """Where a host writes down what it runs."""
        return self.machine.folder / f"{host}.journal"

    def open_gate(self, gate: str, *names: str) -> None:
        """Lets everything finish that holds at this gate of these hosts, or of all that run."""
        for name in names or self.hosts:
            if self.hosts[name].exit_code is None:
                self.hosts[name].signal(GATES[gate])

    async def kill_hosts(self, *names: str) -> None:
        """Kill -9 of hosts, or of all."""
        for name in names or HOSTS:
            await self.hosts[name].kill()

    @contextmanager
    def fault(self, name: str, target: str, effect: str) -> Iterator[None]:
        """Notes that something is broken while the block runs; see `Fault` for its effects."""
        self.recorder.note(Fault(name, False, target, [effect]))
        try:
            yield
        finally:
            self.recorder.note(Fault(name, True, target, [effect]))

    # --- what they wrote --------------------------------------------------------------------------

    def read_journals(self) -> None:
        """Takes over into the history what the hosts have written so far."""
        self.history.executions.clear()
        for name in HOSTS:
            self.history.read_journal(name, self.journal(name))

    async def executed(self, count: int) -> None:
        """Returns when so many executions have begun."""

        def enough() -> bool:
            self.read_journals()
            return len(self.history.executions) >= count

        await until(enough, READY_SECONDS, f"{count} executions have begun")

    async def settle(self) -> None:
        """Reads everything back on every channel, and takes the journals over.

        Fails when a contract was given up for lost agents: no test takes three from any.
        """
        await self.recorder.read_back()
        self.read_journals()
        dead = [each for each in self.history.listings if each.state == "DEAD_LETTERED"]
        assert dead == [], f"dead letters, with {self.history.executions}"

    # --- loads ------------------------------------------------------------------------------------

    async def load(self, count: int) -> None:
        """So many contracts, half of them by bare calls; some ask for children."""
        turns = asyncio.Semaphore(IN_FLIGHT)

        async def one(number: int) -> None:
            async with turns:
                await self.ask(number)

        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(one(number))

    async def ask(self, number: int) -> None:
        """One contract of a load and its response; the same number is the same request."""
        recorder = self.recorder
        ask = recorder.by_calls if number % 2 else recorder.on_stream
        ms = random.Random(number).randrange(WORK_MS_MAX)
        if number % 20 == 0:
            await ask(f"r{number}", "fault.tree", text=f"t{number}", children=3, ms=ms)
        else:
            await ask(f"r{number}", "fault.work", text=f"t{number}", ms=ms)

    async def answered(self, count: int) -> None:
        """Returns when so many responses have come."""
        answers = self.history.answers
        await until(lambda: len(answers) >= count, READY_SECONDS, f"{count} responses came")

    async def hold(self, gate: str, count: int) -> list[str]:
        """Submits contracts that work until a gate opens; returns their ids."""
        submits = (
            self.recorder.submit(f"{gate}-{n}", "fault.hold", text=str(n), gate=gate)
            for n in range(count)
        )
        return list(await asyncio.gather(*submits))


@asynccontextmanager
async def world(
    shape: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    proxied: bool = False,
    **settings: str,
) -> AsyncIterator[World]:
    """A mesh in this shape, which serves, with all hosts connected; its environment is ours.

    `settings` are what its services are told besides. When it is `proxied`, a proxy is between each
    host and the executor, and one between executor and scheduler, which is the link.
    """
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(machine(folder))
        backends: dict[str, ServerProcess] = {}
        if shape == "replicas":
            backends["postgres"] = await stack.enter_async_context(own_server("postgres", folder))
            settings["MUSTER_LEDGER"] = backends["postgres"].server.url
        mesh = MeshProcesses(started, shape, folder / "data", settings)
        proxies = {
            name: await stack.enter_async_context(proxy_to(mesh.address(service)))
            for name, service in (*((host, "executor") for host in HOSTS), ("link", "scheduler"))
            if proxied
        }
        if proxied:
            settings["MUSTER_SCHEDULER_TARGETS"] = proxies["link"].address
        for name, value in mesh.environment().items():
            monkeypatch.setenv(name, value)
        async with recording(mesh.address("scheduler")) as recorder:
            made = World(started, mesh, recorder)
            made.proxies.update(proxies)
            made.backends.update(backends)
            await made.start_hosts()  # they wait for the mesh by themselves
            await mesh.start()
            await made.agents_ready()
            yield made
