"""Meshes whose processes send their spans to a receiver."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.otlp import Receiver
from tests.support.processes import Machine, MeshProcesses, machine, until

HOST = ("-m", "tests.support.traced", "host")


@dataclass
class Traced:
    """A mesh with a host, of processes that send their spans to a receiver."""

    machine: Machine
    mesh: MeshProcesses
    receiver: Receiver
    environment: Mapping[str, str]

    async def call(self, capability: str, **input: Any) -> Any:
        """What a client's process gets; it has ended then."""
        client = await self.machine.start(
            f"client-{len(self.machine.processes)}",
            *("-m", "tests.support.traced", "call", capability, json.dumps(input)),
            environment=self.environment,
        )
        assert await client.wait(60.0) == 0, client.said
        answers = [line for line in client.said.splitlines() if line.startswith("answer: ")]
        return json.loads(answers[0].removeprefix("answer: "))


@asynccontextmanager
async def mesh_of(
    shape: str, folder: Path, receiver: Receiver, ledger: str = "", **told: str
) -> AsyncIterator[Traced]:
    """A mesh and a host in processes of their own."""
    environment = receiver.environment(**told)
    of_services = {**environment, "MUSTER_LEDGER": ledger} if ledger else environment
    async with machine(folder) as started:
        mesh = MeshProcesses(started, shape, folder / "data", of_services)
        await mesh.start()
        found = {**environment, **mesh.environment()}
        host = await started.start("host", *HOST, environment=found)
        await until(lambda: "is connected" in host.said, 20, "the host is connected")
        yield Traced(started, mesh, receiver, found)
