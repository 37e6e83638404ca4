"""A mesh that runs: its services, its pool of hosts, and what is written down about them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from muster.backends.pool_base import HostState, HostStatus
from muster.backends.pool_subprocess.kept import EXIT_MISCONFIGURED, Change, Kept, KeptState
from muster.backends.pool_subprocess.pool import SubprocessPool
from muster.backends.pool_subprocess.process import Command
from muster.model import limits
from muster.model.fleet import Fleet, HostJob, spread
from muster.supervisor.arrival import count_agents
from muster.supervisor.finding import Endpoints, find_metadata
from muster.supervisor.health import Health, watch_health
from muster.supervisor.identity import identify
from muster.supervisor.plan import (
    AlreadyRunning,
    Interrupted,
    Plan,
    Refused,
    Service,
    StartError,
    choose_ports,
    endpoints_of,
    environment_of,
    make_folders,
    services_of,
)
from muster.supervisor.remains import sweep_remains
from muster.supervisor.state import Lock, MeshState, RunningProcess, remove_state, write_state
from muster.supervisor.words import last_words


def _silent(_text: str) -> None:
    pass


@dataclass
class ServiceStatus:
    """How a service is, for whoever shows it."""

    service: Service
    kept: Kept
    health: Health = Health.UNREACHABLE
    since: float = field(default_factory=time.monotonic)
    # Of `health`; monotonic seconds.

    @property
    def state(self) -> str:
        """In a word or two."""
        last = self.kept.last
        return self.health.value if last.state is KeptState.RUNNING else last.state.value


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
        self.arrived = 0  # agents of the fleet that have been seen
        self._tell = tell
        self._inherited = dict(inherited)
        self._pool: SubprocessPool | None = None
        self._state: MeshState | None = None
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
        for status in self.services:
            status.kept.hurry()

    # --- starting ---------------------------------------------------------------------------------

    async def _start(self) -> None:
        folder = self.plan.data_dir
        make_folders(folder)
        self._take_lock()
        await asyncio.to_thread(sweep_remains, folder, self._tell)
        services = choose_ports(services_of(self.plan))
        self.endpoints = endpoints_of(services)
        self._stack.callback(remove_state, folder)
        self._state = self._first_state(services)
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.push_async_callback(self._stop_services)
        for service in services:
            status = ServiceStatus(service, self._kept(service))
            self.services.append(status)
            tasks.create_task(status.kept.run(), name=f"service {service.name}")
            self._watch(tasks, watch_health(service.address, self._health_of(status)))
        await self._wait_serving()
        if self.fleet is not None:
            await self._start_fleet(self.fleet, tasks)
        self._write("serving")

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
            fleet=str(self.plan.fleet_file) if self.plan.fleet_file else None,
        )

    def _kept(self, service: Service) -> Kept:
        command = Command(
            name=service.name,
            module=service.module,
            environment=environment_of(service, self.endpoints, self.plan, self._inherited),
            log=self._logs / f"{service.name}.log",
            folder=self.plan.data_dir,
        )
        # Once it has served, what it misses is something that comes back, like its port.
        return Kept(command, self._service_changed, retry_refused=True)

    async def _wait_serving(self) -> None:
        def all_serve() -> bool:
            for status in self.services:
                _require_alive(status)
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
        environment = {**self._inherited, **self.endpoints.environment}
        environment["MUSTER_DATA_DIR"] = str(self.plan.data_dir)
        self._pool = await self._stack.enter_async_context(
            SubprocessPool(environment, self._logs, self._host_changed)
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

    def _service_changed(self, change: Change) -> None:
        self._changed.set()
        if change.state is KeptState.WAITING and self._phase == "serving":
            self._tell(f"{change.name} {change.detail}; starting it again{_in(change)}")
        elif change.state is KeptState.STOPPING and change.detail:
            self._tell(f"{change.name} {change.detail}")
        self._write()

    def _host_changed(self, change: HostStatus) -> None:
        if change.state is HostState.WAITING:
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
        found = [(each.service.name, "service", each.kept.last.pid) for each in self.services]
        found += [(host.name, "host", host.pid) for host in self.hosts]
        processes = tuple(
            RunningProcess(name, role, pid, identity.start, str(self._logs / f"{name}.log"))
            for name, role, pid in found
            if pid is not None and (identity := identify(pid)) is not None
        )
        self._state = replace(self._state, phase=phase or self._phase, processes=processes)
        try:
            write_state(self.plan.data_dir, self._state)
        except OSError as error:
            # The mesh goes on; only commands that look for it may find what was true before.
            self._tell(f"what runs cannot be written down: {error.strerror}")

    # --- stopping ---------------------------------------------------------------------------------

    async def _stop_services(self) -> None:
        """The last to start goes first: each finds what it needs until its end."""
        for status in reversed(self.services):
            status.kept.request_stop(limits.SERVICE_STOP_SECONDS)
            await status.kept.wait()
        for watcher in self._watchers:
            watcher.cancel()


def _require_alive(status: ServiceStatus) -> None:
    """Raises when a service has ended before it ever served."""
    kept, name = status.kept, status.service.name
    if kept.last.state is KeptState.RUNNING and kept.last.starts <= 1:
        return
    if kept.last.state is KeptState.WAITING and kept.last.starts == 0:
        return  # its task has not begun
    words = last_words(kept.log.last_lines())
    if kept.last.code == EXIT_MISCONFIGURED:
        raise Refused(words or f"{name} refuses to start")
    message = f"{name} {kept.last.detail or 'has ended'}" + (f": {words}" if words else "")
    raise StartError(f"{message}\nits log: {kept.log.path}")


def _in(change: Change | HostStatus) -> str:
    return f" in {change.pause_seconds:.1f} s" if change.pause_seconds >= 0.05 else ""
