"""Real processes for tests: services, hosts and whatever else, started, killed and cleaned up.

A mesh keeps its ports and its data directory over the death of its processes, as a machine's would.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]

SERVING_SECONDS = 20.0  # from start to SERVING; about 2 s are usual
GONE_SECONDS = 10.0  # from a signal to the end
DUMP_SECONDS = 1.0  # of what its threads are doing
SAID_CHARS = 8000  # of its output, in an error
POLL_SECONDS = 0.02  # between two looks at what cannot be waited for otherwise

# Of no system's ephemeral range: nothing takes a killed service's port for an outgoing connection.
# Nor of those that a mesh chooses from by itself, and each worker of the tests has its own: a port
# that is free now may be somebody's who has not begun to listen.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = range(20_000 + _WORKER, 26_000, _WORKERS)
_ports = itertools.cycle(random.sample(PORTS, len(PORTS)))

# Makes a process die with this one, so that even a killed test run leaves nothing behind.
_DIE_WITH_PARENT = """
import os, sys
if group := os.environ.get("START_AS_GROUP"):
    os.setgid(int(group))
if sys.platform == "linux":
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def free_port() -> int:
    """A port that nobody listens on now."""
    for port in _ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("they come again and again")


async def until(condition: Callable[[], Awaitable[bool] | bool], seconds: float, what: str) -> None:
    """Returns when `condition` holds; fails with `what` when it does not in so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                holds = condition()
                if holds is True or (not isinstance(holds, bool) and await holds):
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"in {seconds} s it did not come true: {what}") from None


class Process:
    """A process that was started, with everything that it says in a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log
        self._log_from = log.stat().st_size

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.returncode

    @property
    def said(self) -> str:
        """Its output, of this life only."""
        return self._log.read_bytes()[self._log_from :].decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    async def wait(self, seconds: float = GONE_SECONDS) -> int:
        """Waits for its end; returns the exit code. Where it does not end, says what its threads
        are doing."""
        try:
            return await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            self.signal(signal.SIGABRT)  # faulthandler's
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), DUMP_SECONDS)
        said = self.said[-SAID_CHARS:]
        raise AssertionError(f"{self.name} still runs after {seconds} s:\n{said}")

    async def kill(self) -> None:
        """Kill -9; returns when it is gone. Safe to call twice."""
        if self.exit_code is None:
            self.signal(signal.SIGKILL)
        await self.wait()

    async def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.exit_code is None:
            self.signal(signal.SIGTERM)
        return await self.wait()

    async def serving(self, target: str) -> None:
        """Returns when the gRPC server at `target`, which is this process, says SERVING."""
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(self._process.wait())
            watching = tasks.create_task(serving(target))
            await asyncio.wait({ended, watching}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                watching.cancel()
                raise AssertionError(f"{self.name} ended with {self.exit_code}:\n{self.said}")
            ended.cancel()


async def serving(target: str) -> None:
    """Returns when the gRPC server at `target` says that all of it is SERVING."""
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]
    options += [("grpc.min_reconnect_backoff_ms", 50), ("grpc.use_local_subchannel_pool", 1)]
    async with (
        asyncio.timeout(SERVING_SECONDS),
        grpc.aio.insecure_channel(target, options) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        async for reply in stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return


class Machine:
    """Starts processes, and ends all of them when it is left. Use `machine`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[Process] = []

    async def start(
        self,
        name: str,
        *command: str,
        environment: Mapping[str, str] | None = None,
        group: int | None = None,
    ) -> Process:
        """Starts `python COMMAND…` with no other MUSTER_ variables than those given. As another
        `group`, which takes root, its packets can be told from others'."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("MUSTER_")}
        clean["PYTHONFAULTHANDLER"] = "1"
        if group is not None:
            # Not before the process is itself: a fork of a program with threads may hang in it.
            clean["START_AS_GROUP"] = str(group)
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-S", "-c", _DIE_WITH_PARENT, *command),
                cwd=ROOT,
                env={**clean, **(environment or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.processes.append(Process(name, process, log))
        return self.processes[-1]

    async def close(self) -> None:
        """Kills whatever still runs."""
        for process in self.processes:
            if process.exit_code is None:
                process.signal(signal.SIGKILL)
        for process in self.processes:
            await process.wait()


@asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[Machine]:
    """A machine; nothing that it started outlives the block."""
    started = Machine(folder)
    try:
        yield started
    finally:
        await started.close()


# Which services make up a mesh, by shape: name -> module.
SHAPES: dict[str, dict[str, str]] = {
    "all-in-one": {"mesh": "muster.allinone"},
    "separate": {
        "scheduler": "muster.scheduler",
        "registry": "muster.registry",
        "executor": "muster.executor",
    },
    "two-executors": {
        "scheduler": "muster.scheduler",
        "registry": "muster.registry",
        "executor-1": "muster.executor",
        "executor-2": "muster.executor",
    },
    # Two of each; they need a ledger that can be shared (MUSTER_LEDGER).
    "replicas": {
        f"{name}-{number}": f"muster.{name}"
        for name in ("scheduler", "registry", "executor")
        for number in (1, 2)
    },
}


class MeshProcesses:
    """The processes of one mesh, in one of the `SHAPES`."""

    def __init__(
        self,
        machine: Machine,
        shape: str,
        data_dir: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` is what the services are told besides where everything is."""
        self.services = tuple(SHAPES[shape])
        self._modules = SHAPES[shape]
        self._machine = machine
        self.data_dir = data_dir
        self._environment = environment or {}
        self._ports = dict(zip(self.services, _free_ports(len(self.services)), strict=True))
        self.running: dict[str, Process] = {}

    def address(self, service: str) -> str:
        """Where a service is, or every one of it, or the whole mesh where it is one process."""
        ports = [
            self._ports[each] for each in self.services if f"{each}-".startswith(f"{service}-")
        ]
        return ",".join(f"127.0.0.1:{port}" for port in ports or [self._ports["mesh"]])

    def environment(self) -> dict[str, str]:
        """What tells clients and hosts where everything is."""
        names = ("scheduler", "registry", "executor")
        return {f"MUSTER_{name.upper()}": self.address(name) for name in names}

    async def start(self, *services: str) -> None:
        """Starts services, all of them if none is named; returns when they are SERVING."""
        await self.begin(*services)
        await self.serving(*services)

    async def begin(self, *services: str) -> None:
        """Starts services, or all, without waiting for them: they may be meant to die first."""
        for service in services or self.services:
            self.running[service] = await self.launch(service, self._ports[service])

    async def launch(self, service: str, port: int) -> Process:
        """Starts a service's process and does not wait for it."""
        environment = {
            "MUSTER_GRPC_PORT": str(port),
            "MUSTER_HTTP_PORT": "none",
            "MUSTER_DATA_DIR": str(self.data_dir),
            "MUSTER_LOG_FORMAT": "json",
            "MUSTER_SCHEDULER_TARGETS": self.address("scheduler"),
            "MUSTER_REGISTRY_TARGETS": self.address("registry"),
            "MUSTER_NAME": service,
            **self._environment,
        }
        return await self._machine.start(
            service, "-m", self._modules[service], environment=environment
        )

    async def serving(self, *services: str) -> None:
        """Returns when these services, or all, say SERVING."""
        async with asyncio.TaskGroup() as tasks:
            for service in services or self.services:
                tasks.create_task(self.running[service].serving(self.address(service)))

    async def kill(self, *services: str) -> None:
        """Kill -9 of these services, or of all, in one blow."""
        victims = [self.running[service] for service in services or self.services]
        for victim in victims:
            victim.signal(signal.SIGKILL)
        for victim in victims:
            await victim.wait()

    async def terminate(self, *services: str) -> list[int]:
        """SIGTERM to these services, or to all; returns their exit codes."""
        return [await self.running[service].terminate() for service in services or self.services]


def _free_ports(count: int) -> Sequence[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)
