"""Host processes of agents in files, and a shop that tells of orders; for tests of modes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from muster.agent import Agent, Client, Context
from tests.sources import ROOT
from tests.support.meshes import Mesh
from tests.support.processes import Machine, Process, machine, until

EXAMPLES = ROOT / "agents" / "examples" / "modes"

shop = Agent("shop", max_in_flight=4)


@shop.capability("orders.place_many")
async def place_many(ctx: Context, items: list[str]) -> int:
    """Orders one after the other, each an event."""
    for item in items:
        await ctx.publish("orders.placed", {"item": item})
    return len(items)


class Hosts:
    """Starts `muster agent run` with files."""

    def __init__(self, machine: Machine, mesh: Mesh) -> None:
        self._machine = machine
        self._mesh = mesh
        self._count = 0

    async def run(self, *files: Path | str, options: tuple[str, ...] = ()) -> Process:
        """A host with the agents of these files, of the examples unless the path says otherwise."""
        self._count += 1
        paths = [str(EXAMPLES / file) for file in files]
        return await self._machine.start(
            f"host-{self._count}",
            *("-m", "muster.cli", "agent", "run", *paths, *options),
            environment={**self._mesh.environment(), "MUSTER_ADDRESS": self._mesh.scheduler},
        )


@asynccontextmanager
async def hosts(folder: Path, mesh: Mesh) -> AsyncIterator[Hosts]:
    """Whatever it has started ends with the block."""
    async with machine(folder) as started:
        yield Hosts(started, mesh)


async def offered(client: Client, *capabilities: str) -> None:
    """Returns when somebody offers each of them."""
    for capability in capabilities:

        async def is_there(name: str = capability) -> bool:
            return bool([each async for each in client.agents(capability=name)])

        await until(is_there, 30, f"somebody offers {capability}")
