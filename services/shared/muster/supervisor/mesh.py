"""A mesh that runs: its services, the servers and hosts with them, and what is written down."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from muster.backends.pool_base import HostState, HostStatus, Pool
from muster.backends.pool_subprocess.kept import Change, Kept, KeptState
from muster.backends.pool_subprocess.process import Command, module_words
from muster.model import limits
from muster.model.fleet import Fleet, HostJob, spread
from muster.supervisor.arrival import count_agents
from muster.supervisor.finding import Endpoints, find_metadata, fleet_identity
from muster.supervisor.health import Health, watch_health
from muster.supervisor.identity import identify
from muster.supervisor.plan import (
    AlreadyRunning,
    Backend,
    Interrupted,
    Plan,
    Refused,
    Service,
    StartError,
    backends_of,
    check_plan,
    endpoints_of,
    environment_of,
    make_folders,
    services_of,
    targets_of,
)
from muster.supervisor.pools import make_pool
from muster.supervisor.ports import choose_ports
from muster.supervisor.remains import sweep_remains
from muster.supervisor.serving import BackendStatus, ServiceStatus, require_alive
from muster.supervisor.standing import Backends
from muster.supervisor.state import (
    BACKEND_ROLE,
    Lock,
    MeshState,
    RunningProcess,
    remove_state,
    write_state,
)
from muster.supervisor.words import last_words


def _silent(_text: str) -> None:
    pass


class Mesh:
    """Runs inside `async with`: serving when it is entered, gone when it is left.

    `tell` hears, in sentences for people, what happens that was not asked for. Entering raises
    `StartError` with nothing left behind.
    """

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet | None = None,
        tell: Callable[[str], None] = _silent,
        inherited: Mapping[str, str] = os.environ,
    ) -> None:
        self.plan = plan
        self.fleet = fleet
        self.jobs: list[HostJob] = spread(fleet) if fleet else []
        self.services: list[ServiceStatus] = []
        self.endpoints = Endpoints.at("")
        self.backends = Backends(inherited, self._kept_changed, self._backend_answered)
        self.arrived = 0  # agents of the fleet that have been seen
        self._tell = tell
        self._inherited = dict(inherited)
        self._pool: Pool | None = None
        self._state: MeshState | None = None
        self._started: dict[str, float] = {}  # when each process was, in Unix time
        self._changed = asyncio.Event()
        self._watchers: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._write("stopping")
        await self._stack.aclose()

    @property
    def hosts(self) -> list[HostStatus]:
        """The hosts of the fleet."""
        return self._pool.status() if self._pool else []

    def request_stop(self) -> None:
        """Begins to stop, and returns at once. Asked a second time, it waits for nothing more."""
        if self._stop.is_set():
            self._hurry()
        self._stop.set()
        self._changed.set()

    async def stop_requested(self) -> None:
        """Waits until somebody asks it to stop."""
        await self._stop.wait()

    def _hurry(self) -> None:
        if self._pool is not None:
            self._pool.hurry()
        self.backends.hurry()
        for status in self.services:
            status.kept.hurry()

    # --- starting ---------------------------------------------------------------------------------

    async def _start(self) -> None:
        folder = self.plan.data_dir
        check_plan(self.plan, self._inherited)
        make_folders(folder)
        self._take_lock()
        await asyncio.to_thread(sweep_remains, folder, self._tell)
        claims = self._stack.enter_context(ExitStack())
        services, backends = choose_ports(
            services_of(self.plan), backends_of(self.plan, self._inherited), claims
        )
        self.endpoints = endpoints_of(services)
        self._stack.callback(remove_state, folder)
        self._state = self._first_state(services)
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.push_async_callback(self.backends.stop)
        await self._start_backends(backends, tasks)
        self._stack.push_async_callback(self._stop_services)
        targets = targets_of(services)
        for service in services:
            status = ServiceStatus(service, self._kept(service, targets))
            self.services.append(status)
            tasks.create_task(status.kept.run(), name=f"service {service.name}")
            self._watch(tasks, watch_health(service.address, self._health_of(status)))
        await self._wait_serving()
        if self.fleet is not None:
            await self._start_fleet(self.fleet, tasks)
        self._write("serving")

    async def _start_backends(self, backends: list[Backend], tasks: asyncio.TaskGroup) -> None:
        await self.backends.start(backends, self.plan.data_dir, self._logs, tasks)
        self._note_backends()
        if not await self._until(self.backends.all_answer, limits.SERVER_START_SECONDS):
            raise self.backends.late()

    def _note_backends(self) -> None:
        assert self._state is not None
        addresses = {each.name: each.address for each in self.backends.statuses}
        self._state = replace(self._state, backends=addresses)
        self._write()

    def _watch(self, tasks: asyncio.TaskGroup, watch: Coroutine[Any, Any, None]) -> None:
        """Starts something that has no end of its own."""
        self._watchers.append(tasks.create_task(watch))

    def _take_lock(self) -> None:
        lock = Lock(self.plan.data_dir)
        if not lock.take():
            message = f"a mesh runs on {self.plan.data_dir} already"
            raise AlreadyRunning(message)
        self._stack.callback(lock.release)

    def _first_state(self, services: list[Service]) -> MeshState:
        own = identify(os.getpid())
        assert own is not None
        return MeshState(
            phase="starting",
            shape=self.plan.shape,
            started=time.time(),
            supervisor=own,
            endpoints={
                "registry": self.endpoints.registry,
                "scheduler": self.endpoints.scheduler,
                "executor": self.endpoints.executor,
            },
            http={each.name: each.http_address for each in services if each.http_address},
            targets=targets_of(services),
            fleet=str(self.plan.fleet_file) if self.plan.fleet_file else None,
        )

    def _kept(self, service: Service, targets: Mapping[str, Sequence[str]]) -> Kept:
        told = environment_of(service, targets, self.plan, self._inherited)
        command = Command(
            name=service.name,
            words=module_words(service.module),
            environment={**told, **self.backends.environment},
            log=self._logs / f"{service.name}.log",
            folder=self.plan.data_dir,
        )
        # Once it has served, what it misses is something that comes back, like its port.
        return Kept(command, self._kept_changed, retry_refused=True)

    async def _wait_serving(self) -> None:
        def all_serve() -> bool:
            for status in self.services:
                require_alive(status.kept)
            return all(each.health is Health.SERVING for each in self.services)

        if not await self._until(all_serve, limits.SERVICE_START_SECONDS):
            late = [each for each in self.services if each.health is not Health.SERVING]
            named = ", ".join(f"{each.service.name} is {each.state}" for each in late)
            message = (
                f"not serving after {limits.SERVICE_START_SECONDS:.0f} s: {named}\n"
                f"its log: {late[0].kept.log.path}"
            )
            raise StartError(message)

    async def _until(self, met: Callable[[], bool], seconds: float) -> bool:
        """Waits until something is so; False when it is not after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not met():
                    if self._stop.is_set():
                        message = "interrupted"
                        raise Interrupted(message)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _start_fleet(self, fleet: Fleet, tasks: asyncio.TaskGroup) -> None:
        own = fleet_identity(self._inherited)
        environment = {**self._inherited, **own, **self.endpoints.environment}
        environment["MUSTER_DATA_DIR"] = str(self.plan.data_dir)
        self._pool = await self._stack.enter_async_context(
            make_pool(self.plan.pool, environment, self._logs, self._host_changed)
        )
        for job in self.jobs:
            await self._pool.start(job)
        names, metadata = {job.name for job in self.jobs}, find_metadata(self._inherited)
        self._watch(tasks, count_agents(self.endpoints.registry, metadata, names, self._counted))
        if not await self._until(self._all_there, limits.FLEET_CONNECT_SECONDS):
            self._tell(
                f"only {self.arrived:,} of {fleet.agents:,} agents are there after "
                f"{limits.FLEET_CONNECT_SECONDS:.0f} s; the hosts' logs: {self._logs}"
            )
        self._watchers.pop().cancel()

    def _counted(self, count: int) -> None:
        self.arrived = count
        self._changed.set()

    def _all_there(self) -> bool:
        for host in self.hosts:
            if host.state is HostState.REFUSED and self._pool is not None:
                words = last_words(self._pool.last_lines(host.name))
                message = f"host {host.name} cannot run: {words}"
                raise Refused(message)
        return self.fleet is None or self.arrived >= self.fleet.agents

    # --- running ----------------------------------------------------------------------------------

    def _health_of(self, status: ServiceStatus) -> Callable[[Health], None]:
        def tell(health: Health) -> None:
            if health is not status.health:
                if health is Health.SERVING and status.kept.last.starts > 1:
                    self._tell(f"{status.service.name} serves again")
                status.health, status.since = health, time.monotonic()
                self._changed.set()

        return tell

    def _backend_answered(self, status: BackendStatus) -> None:
        self._changed.set()
        if status.answers and status.kept is not None and status.kept.last.starts > 1:
            self._tell(f"{status.name} serves again")
        elif self._phase == "serving" and status.kept is None:
            self._tell(f"{status.name} at {status.address} is {status.state}")

    def _kept_changed(self, change: Change) -> None:
        self._changed.set()
        if change.state is KeptState.RUNNING:
            self._started[change.name] = time.time()
        if change.state is KeptState.WAITING and self._phase == "serving":
            self._tell(f"{change.name} {change.detail}; starting it again{_in(change)}")
        elif change.state is KeptState.STOPPING and change.detail:
            self._tell(f"{change.name} {change.detail}")
        self._write()

    def _host_changed(self, change: HostStatus) -> None:
        if change.state is HostState.RUNNING:
            self._started[change.name] = time.time()
        elif change.state is HostState.WAITING:
            self._tell(f"host {change.name} {change.detail}; starting it again{_in(change)}")
        elif change.state is HostState.REFUSED:
            self._tell(f"host {change.name} {change.detail}; it is not started again")
        elif change.state is HostState.STOPPING and change.detail:
            self._tell(f"host {change.name} {change.detail}")
        self._changed.set()
        self._write()

    @property
    def _logs(self) -> Path:
        return self.plan.data_dir / "logs"

    @property
    def _phase(self) -> str:
        return self._state.phase if self._state else "starting"

    def _write(self, phase: str | None = None) -> None:
        """Writes down what runs; whatever reads it may be about to end exactly that."""
        if self._state is None:
            return
        kept = [(BACKEND_ROLE, each.kept) for each in self.backends.statuses if each.kept]
        kept += [("service", each.kept) for each in self.services]
        found = [
            self._running(role, each.command.name, each.last.pid, each.command.stop_signal)
            for role, each in kept
        ]
        found += [self._running("host", host.name, host.pid) for host in self.hosts]
        processes = tuple(each for each in found if each is not None)
        self._state = replace(self._state, phase=phase or self._phase, processes=processes)
        try:
            write_state(self.plan.data_dir, self._state)
        except OSError as error:
            # The mesh goes on; only commands that look for it may find what was true before.
            self._tell(f"what runs cannot be written down: {error.strerror}")

    def _running(
        self, role: str, name: str, pid: int | None, stop_signal: int = signal.SIGTERM
    ) -> RunningProcess | None:
        identity = identify(pid) if pid is not None else None
        if identity is None:
            return None
        log, since = str(self._logs / f"{name}.log"), self._started.get(name, 0.0)
        return RunningProcess(name, role, identity.pid, identity.start, log, since, stop_signal)

    # --- stopping ---------------------------------------------------------------------------------

    async def _stop_services(self) -> None:
        """The last to start go first: each finds what it needs until its end."""
        for role in dict.fromkeys(each.service.role for each in reversed(self.services)):
            kept = [each.kept for each in self.services if each.service.role == role]
            for each in kept:
                each.request_stop(limits.SERVICE_STOP_SECONDS)
            for each in kept:
                await each.wait()
        for watcher in self._watchers:
            watcher.cancel()


def _in(change: Change | HostStatus) -> str:
    return f" in {change.pause_seconds:.1f} s" if change.pause_seconds >= 0.05 else ""
