"""From a submit until an agent holds the assignment; and what slow commits do to throughput."""

from __future__ import annotations

import time

from benchmarks.bench import Bench
from benchmarks.figures import percentile
from benchmarks.load import TEXT, Load, warmed_loop
from benchmarks.meshes import Fleet, mesh
from muster.agent import Client, connect

KEYS = ("assignment", "slow-commit")
IN_FLIGHT = 620
COMMIT_DELAY_MS = 5.0
FLEET = Fleet(capability="bench.hold")


async def measure(bench: Bench) -> None:
    """Two meshes at a time, one of them on a slow disk; they work in turn."""
    async with (
        mesh(bench.new_folder(), FLEET) as usual,
        mesh(bench.new_folder(), FLEET, COMMIT_DELAY_MS) as slow,
        connect(usual.target) as client,
        connect(slow.target) as slow_client,
    ):
        for number in range(bench.rounds):
            bench.say(f"assignments, round {number + 1} of {bench.rounds}")
            load, held = await _held(client, bench.seconds)
            bench.add("assignment", "p99", percentile(held, 0.99) * 1000)
            bench.note("assignment", "p50 (ms)", percentile(held, 0.5) * 1000)
            bench.note("assignment", "contracts/s", load.per_second)
            if bench.wants("slow-commit"):
                delayed, held = await _held(slow_client, bench.seconds)
                bench.add("slow-commit", "ratio", delayed.per_second / load.per_second)
                bench.note("slow-commit", "contracts/s with the delay", delayed.per_second)
                p99 = percentile(held, 0.99) * 1000
                bench.note("slow-commit", "assignment p99 with the delay (ms)", p99)


async def _held(client: Client, seconds: float) -> tuple[Load, list[float]]:
    """A load of contracts that take a tenth of a second, and how long each took to be held."""
    held: list[float] = []

    async def ask() -> None:
        held.append(await client.call("bench.hold", {"sent": time.monotonic(), "text": TEXT}))

    load = await warmed_loop(ask, IN_FLIGHT, seconds)
    return load, held[-len(load.seconds) :]
