"""A mesh as a person runs it: `muster up --separate`, whose supervisor starts again what dies."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from muster.supervisor.identity import Identity
from muster.supervisor.state import MeshState, RunningProcess, read_state
from tests.support.processes import (
    SERVING_SECONDS,
    Machine,
    Process,
    free_port,
    serving,
    until,
)

OFFSETS = {"registry": 1, "scheduler": 2, "executor": 3}  # from the port that `up` is told
REPLICA_OFFSET = 30  # and for each further one of a service
PORTS_TRIED = 100


class SupervisedMesh:
    """Its processes. It keeps its ports and its data over all deaths."""

    def __init__(
        self,
        machine: Machine,
        data_dir: Path,
        replicas: int = 1,
        told: Mapping[str, str] | None = None,
    ) -> None:
        """`replicas` of each service; `told` is what is in its environment besides."""
        self.services = tuple(_names(replicas))
        self.data_dir = data_dir
        self._told = told or {}
        self._replicas = replicas
        self.running: dict[str, Process] = {}  # the supervisor alone; services are its own
        self._machine = machine
        self._port = _free_run(replicas)

    def address(self, service: str) -> str:
        """Where a service is, or every one of it."""
        role, _, number = service.partition("-")
        numbers = [int(number)] if number else range(1, self._replicas + 1)
        ports = [self._port + OFFSETS[role] + REPLICA_OFFSET * (each - 1) for each in numbers]
        return ",".join(f"127.0.0.1:{port}" for port in ports)

    def environment(self) -> dict[str, str]:
        """What tells clients and hosts where everything is."""
        return {f"MUSTER_{name.upper()}": self.address(name) for name in OFFSETS}

    def pid(self, service: str) -> int:
        """The process of a service."""
        return self._process(service).pid

    async def start(self) -> None:
        """Runs `muster up`; returns when everything serves."""
        self.running["supervisor"] = await self._machine.start(
            "supervisor",
            *("-m", "muster.cli", "up", "--separate", "--no-http"),
            *("--port", str(self._port), "--data-dir", str(self.data_dir)),
            *(("--replicas", str(self._replicas)) if self._replicas > 1 else ()),
            environment=self._told,
        )
        await self.serving()

    async def serving(self, *services: str) -> None:
        """Returns when these services, or all, say SERVING."""
        async with asyncio.TaskGroup() as tasks:
            for service in services or self.services:
                tasks.create_task(serving(self.address(service)))

    async def kill(self, *services: str) -> None:
        """Kill -9 of services. Returns when they are gone; the supervisor sees to the rest."""
        victims = [self._process(service).identity for service in services]
        for victim in victims:
            victim.send(signal.SIGKILL)
        for victim in victims:
            await until(partial(_gone, victim), SERVING_SECONDS, "it is gone")

    async def kill_everything(self) -> None:
        """Kill -9 of the supervisor and of all services, in one blow."""
        state = self._state()
        self.running["supervisor"].signal(signal.SIGKILL)
        victims = [each.identity for each in state.processes] if state else []
        for victim in victims:
            victim.send(signal.SIGKILL)
        await self.running["supervisor"].wait()
        for victim in victims:
            await until(partial(_gone, victim), SERVING_SECONDS, "it is gone")

    async def close(self) -> None:
        """Leaves nothing running."""
        if "supervisor" in self.running:
            await self.kill_everything()

    def _state(self) -> MeshState | None:
        return read_state(self.data_dir)

    def _process(self, service: str) -> RunningProcess:
        state = self._state()
        found = [each for each in state.processes if each.name == service] if state else []
        assert found, f"mesh.json names no {service}"
        return found[0]


def _gone(victim: Identity) -> bool:
    return not victim.is_running


def _names(replicas: int) -> Iterator[str]:
    for name in ("scheduler", "registry", "executor"):
        if replicas == 1:
            yield name
        else:
            yield from (f"{name}-{number}" for number in range(1, replicas + 1))


def _free_run(replicas: int) -> int:
    """A port after which there are as many free ones as the services need."""
    for _ in range(PORTS_TRIED):
        port = free_port()
        try:
            for number in range(replicas):
                for offset in OFFSETS.values():
                    _try_port(port + offset + number * REPLICA_OFFSET)
        except OSError:
            continue
        return port
    message = "no free ports were found"
    raise RuntimeError(message)


def _try_port(port: int) -> None:
    socket.create_server(("127.0.0.1", port)).close()
