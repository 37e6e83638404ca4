"""A mesh with a fleet of hosts, as a row of the fault table needs it, and proxies between them.

200 agents live in 8 host processes. Where a row needs the network to fail, each host has proxies
of its own to the mesh, and so have the clients and the link between executor and scheduler.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from muster.servers.server import ServerProcess
from tests.faults.clients import Clients, clients
from tests.faults.load import TASK_SECONDS_MEAN
from tests.faults.proxy import Proxy, proxy_to
from tests.faults.stalls import Stalls, stalls_noted
from tests.faults.supervised import SupervisedMesh
from tests.support.history import SLOTS, WORK_SECONDS, Fault, Journal, Setting
from tests.support.history.journal import SUFFIX
from tests.support.processes import Machine, MeshProcesses, Process, free_port, machine, until
from tests.support.servers import prepared

HOSTS = 8
AGENTS_PER_HOST = 25
WINDOW = 4  # × 200 agents: 800 slots
READY_SECONDS = 30.0
SUPERVISED = "supervised"
FULL = "full"  # supervised, two of every service, on PostgreSQL, NATS and Consul
BACKENDS = ("postgres", "nats", "consul")
TEMPORAL = "temporal"
NOISE = "noise"  # a tenant whose contracts are in no history


@dataclass(frozen=True)
class Setup:
    """What kind of mesh a row wants. `settings` are what its services are told besides."""

    shape: str = "all-in-one"
    proxied: bool = False
    hosts: int = HOSTS
    agents: int = AGENTS_PER_HOST
    window: int = WINDOW
    settings: Mapping[str, str] = field(default_factory=dict)
    data_dir: Path | None = None
    everywhere: Mapping[str, str] = field(default_factory=dict)
    # What services and hosts have in their environment besides.

    program: str = "tests.faults.fleet_host"  # what a host runs
    temporal_workers: int = 0  # of the engine on Temporal, which is there if there are any
    groups: Mapping[str, int] = field(default_factory=dict)
    # By host: the group as which it runs, so that its packets can be told from others'.


class Stage:
    """Everything that a row works with. Use `stage`."""

    def __init__(self, folder: Path, setup: Setup, machine: Machine, stack: AsyncExitStack) -> None:
        self.setup = setup
        self.machine = machine
        self.folder = folder
        self.data_dir = setup.data_dir or folder / "data"
        self.hosts: dict[str, Process] = {}
        self.proxies: dict[str, Proxy] = {}
        self.journal = Journal(folder / f"faults{SUFFIX}", "faults")
        self.clients: Clients
        self.stalls: Stalls
        self._stack = stack
        self._settings = {**setup.settings, **setup.everywhere}
        self.workers: dict[str, Process] = {}  # of the engine on Temporal
        self._worker_ports = {f"engine-{n}": free_port() for n in range(setup.temporal_workers)}
        self.mesh: MeshProcesses | SupervisedMesh
        names = [*(BACKENDS if setup.shape == FULL else ())]
        names += [TEMPORAL] if setup.temporal_workers else []
        self.backends = {name: ServerProcess(prepared(name, folder / "backends")) for name in names}
        if setup.temporal_workers:
            self._settings["MUSTER_TEMPORAL"] = self.backends[TEMPORAL].server.address
        if setup.shape == FULL:
            urls = {name: each.server.url for name, each in self.backends.items()}
            told = {
                "MUSTER_LEDGER": urls["postgres"],
                "MUSTER_BUS": urls["nats"],
                "MUSTER_DIRECTORY": urls["consul"],
            }
            self.mesh = SupervisedMesh(machine, self.data_dir, 2, {**self._settings, **told})
        elif setup.shape == SUPERVISED:
            self.mesh = SupervisedMesh(machine, self.data_dir, told=self._settings)
        else:
            self.mesh = MeshProcesses(machine, setup.shape, self.data_dir, self._settings)

    @property
    def host_names(self) -> list[str]:
        """All hosts of the fleet, whether they run or not."""
        return [f"host-{number}" for number in range(self.setup.hosts)]

    @property
    def processes(self) -> MeshProcesses:
        """The mesh, where it is not supervised."""
        assert isinstance(self.mesh, MeshProcesses)
        return self.mesh

    @property
    def supervised(self) -> SupervisedMesh:
        """The mesh, where it is."""
        assert isinstance(self.mesh, SupervisedMesh)
        return self.mesh

    # --- setting up -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Starts everything; returns when every agent is there."""
        self.stalls = self._stack.enter_context(stalls_noted(self.folder))
        if self.setup.proxied:
            await self._open_proxies()
        for name, value in self.client_environment().items():
            os.environ[name] = value  # this process runs one row, and nothing else
        for backend in self.backends.values():
            await self._stack.enter_async_context(backend)
        await self.mesh.start()
        await self.start_workers()
        slots = self.setup.hosts * self.setup.agents * self.setup.window
        self.journal.write(Setting(SLOTS, slots))
        self.journal.write(Setting(WORK_SECONDS, TASK_SECONDS_MEAN))
        await self.start_hosts()
        self.clients = await self._stack.enter_async_context(
            clients(self.client_environment()["MUSTER_SCHEDULER"], self.folder)
        )
        await self.agents_ready()

    async def _open_proxies(self) -> None:
        for host in self.host_names:
            for service in ("executor", "scheduler"):
                await self._open_proxy(f"{host} {service}", service)
        await self._open_proxy("clients", "scheduler")
        if self.setup.shape == "separate":
            link = await self._open_proxy("link", "scheduler")
            self._settings["MUSTER_SCHEDULER_TARGETS"] = link.address

    async def _open_proxy(self, name: str, service: str) -> Proxy:
        made = await self._stack.enter_async_context(proxy_to(self.mesh.address(service)))
        self.proxies[name] = made
        return made

    def client_environment(self) -> dict[str, str]:
        """Where clients find everything."""
        places = self.mesh.environment()
        if self.proxies:
            places["MUSTER_SCHEDULER"] = self.proxies["clients"].address
        return places

    def host_environment(self, host: str) -> dict[str, str]:
        """Where a host finds everything."""
        places = {**self.mesh.environment(), **self.setup.everywhere}
        if self.proxies:
            places["MUSTER_EXECUTOR"] = self.proxies[f"{host} executor"].address
            places["MUSTER_SCHEDULER"] = self.proxies[f"{host} scheduler"].address
        return places

    def proxies_of(self, host: str) -> list[Proxy]:
        """All that lies between a host and the mesh."""
        return [self.proxies[f"{host} {service}"] for service in ("executor", "scheduler")]

    # --- workers of the engine on Temporal --------------------------------------------------------

    async def start_workers(self, *names: str) -> None:
        """Starts workers, all of them if none is named; returns when they work."""
        for name in names or self._worker_ports:
            told = {
                "MUSTER_GRPC_PORT": str(self._worker_ports[name]),
                "MUSTER_HTTP_PORT": "none",
                "MUSTER_NAME": name,
                "MUSTER_TEMPORAL": self._settings["MUSTER_TEMPORAL"],
                "MUSTER_SCHEDULER_TARGETS": self.mesh.address("scheduler"),
            }
            self.workers[name] = await self.machine.start(
                name, "-m", "muster.engine", environment=told
            )
        for name in names or self._worker_ports:
            await self.workers[name].serving(f"127.0.0.1:{self._worker_ports[name]}")

    async def kill_workers(self, *names: str) -> None:
        """Kill -9 of workers, or of all."""
        await asyncio.gather(*(self.workers[name].kill() for name in names or self.workers))

    # --- hosts ------------------------------------------------------------------------------------

    async def start_hosts(self, *names: str) -> None:
        """Starts hosts, all of them if none is named, and does not wait for them."""
        for name in names or self.host_names:
            numbers = (str(self.setup.agents), str(self.setup.window))
            self.hosts[name] = await self.machine.start(
                name,
                *("-m", self.setup.program, name, str(self.folder), *numbers),
                environment=self.host_environment(name),
                group=self.setup.groups.get(name),
            )

    async def kill_hosts(self, *names: str) -> None:
        """Kill -9 of hosts, or of all."""
        await asyncio.gather(*(self.hosts[name].kill() for name in names or self.host_names))

    async def agents_ready(self, count: int | None = None, seconds: float = READY_SECONDS) -> None:
        """Returns when the scheduler can place on so many agents, or on all of the fleet."""
        wanted = self.setup.hosts * self.setup.agents if count is None else count

        async def enough() -> bool:
            return (await self.clients.statistics()).agents >= wanted

        await until(enough, seconds, f"{wanted} agents are connected")

    # --- what is written down ---------------------------------------------------------------------

    @contextmanager
    def fault(self, name: str, target: str = "", *effects: str) -> Iterator[None]:
        """Writes down that something is broken while the block runs."""
        self.journal.write(Fault(name, False, target, list(effects)))
        try:
            yield
        finally:
            self.journal.write(Fault(name, True, target, list(effects)))


@asynccontextmanager
async def stage(folder: Path, setup: Setup | None = None) -> AsyncIterator[Stage]:
    """A stage whose mesh serves, and whose agents are all there."""
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(machine(folder))
        made = Stage(folder, setup or Setup(), started, stack)
        if isinstance(made.mesh, SupervisedMesh):
            stack.push_async_callback(made.mesh.close)
        await made.open()
        yield made
