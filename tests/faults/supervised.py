"""A mesh as a person runs it: `muster up --separate`, whose supervisor starts again what dies."""

from __future__ import annotations

import asyncio
import signal
import socket
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
PORTS_TRIED = 100


class SupervisedMesh:
    """Its processes. It keeps its ports and its data over all deaths."""

    services = ("scheduler", "registry", "executor")

    def __init__(self, machine: Machine, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.running: dict[str, Process] = {}  # the supervisor alone; services are its own
        self._machine = machine
        self._port = _free_run()

    def address(self, service: str) -> str:
        """Where a service is."""
        return f"127.0.0.1:{self._port + OFFSETS[service]}"

    def environment(self) -> dict[str, str]:
        """What tells clients and hosts where everything is."""
        return {f"MUSTER_{name.upper()}": self.address(name) for name in self.services}

    def pid(self, service: str) -> int:
        """The process of a service."""
        return self._process(service).pid

    async def start(self) -> None:
        """Runs `muster up`; returns when everything serves."""
        self.running["supervisor"] = await self._machine.start(
            "supervisor",
            *("-m", "muster.cli", "up", "--separate", "--no-http"),
            *("--port", str(self._port), "--data-dir", str(self.data_dir)),
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


def _free_run() -> int:
    """A port after which there are as many free ones as the services need."""
    for _ in range(PORTS_TRIED):
        port = free_port()
        try:
            for offset in OFFSETS.values():
                _try_port(port + offset)
        except OSError:
            continue
        return port
    message = "no free ports were found"
    raise RuntimeError(message)


def _try_port(port: int) -> None:
    socket.create_server(("127.0.0.1", port)).close()
