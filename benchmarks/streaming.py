"""Stream items on their way from one agent to ten watchers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import Bench
from benchmarks.figures import percentile
from benchmarks.load import Costs
from benchmarks.meshes import Fleet, fleet_of, mesh_process
from benchmarks.processes import Child, executing
from muster.agent import Client, connect

KEYS = ("streams",)
WATCHERS = 10
PROCESSES = 2  # that watch
STEADY_PER_SECOND = 10_000  # deliveries
PROBE_ITEMS = 20_000
FLEET = Fleet(agents=1, sessions=1, processes=1, capability="bench.stream")


@dataclass(frozen=True)
class Streamed:
    """What ten watchers saw of one contract, and what each delivery cost."""

    items: int
    figures: list[dict[str, Any]]  # of each process; see watchers_process
    costs: dict[str, float]

    @property
    def per_second(self) -> float:
        """Deliveries per second, from the first of anyone to the last."""
        first: float = min(each["first"] for each in self.figures)
        last: float = max(each["last"] for each in self.figures)
        return self.items * WATCHERS / (last - first)

    def delay_ms(self, share: float) -> float:
        """A percentile of the time from the agent's code to a watcher's."""
        delays = [delay for each in self.figures for delay in each["delays"]]
        return percentile(delays, share) * 1000


async def measure(bench: Bench) -> None:
    """As fast as it goes, then at a steady rate; one contract and one stream at a time."""
    async with mesh_process(bench.new_folder()) as (target, child):
        async with fleet_of(target, FLEET):
            pass  # the mesh knows the capability from now on
        async with connect(target) as client:
            items = PROBE_ITEMS
            for number in range(bench.rounds):
                bench.say(f"streams, round {number + 1} of {bench.rounds}")
                flood = await _streamed(client, target, child, items, 0.0)
                items = max(PROBE_ITEMS, int(flood.per_second / WATCHERS * bench.seconds))
                bench.add("streams", "deliveries", flood.per_second)
                for name, microseconds in flood.costs.items():
                    bench.note("streams", f"CPU of a delivery, {name} (µs)", microseconds)
                per_second = STEADY_PER_SECOND // WATCHERS
                count = int(per_second * bench.seconds)
                steady = await _streamed(client, target, child, count, 1 / per_second)
                bench.add("streams", "p99 at 10,000/s", steady.delay_ms(0.99))
                bench.note("streams", "p50 at 10,000/s (ms)", steady.delay_ms(0.5))
                bench.note("streams", "deliveries/s when steady", steady.per_second)


async def _streamed(client: Client, target: str, mesh: Child, items: int, pause: float) -> Streamed:
    """One contract that waits until ten watch it, and is then taken by an agent that comes."""
    handle = await client.submit("bench.stream", {"items": items, "pause": pause})
    contract_id = await handle.accepted()
    async with _watchers(target, contract_id) as children:
        costs = Costs({"mesh": mesh.pid})
        async with fleet_of(target, FLEET):
            figures = [await _figures(child) for child in children]
            await handle.result()
        for each in figures:
            if each["items"] != [items] * (WATCHERS // PROCESSES):
                message = f"watchers got {each['items']} of {items} items"
                raise RuntimeError(message)
        spent = costs.microseconds(items * WATCHERS)
    return Streamed(items, figures, {"mesh": spent["mesh"]})


@asynccontextmanager
async def _watchers(target: str, contract_id: str) -> AsyncIterator[list[Child]]:
    """Processes that watch the contract, once they do."""
    program = (sys.executable, "-m", "benchmarks.watchers_process")
    command = (*program, target, contract_id, str(WATCHERS // PROCESSES))
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(
                executing(f"watchers {number}", *command, stdout=asyncio.subprocess.PIPE)
            )
            for number in range(PROCESSES)
        ]
        for child in children:
            assert child.process.stdout is not None
            await child.process.stdout.readline()
        yield children


async def _figures(child: Child) -> dict[str, Any]:
    output, _ = await child.process.communicate()
    figures: dict[str, Any] = json.loads(output)
    return figures
