"""Throughput of a mesh that has grown: 1 M contracts in its ledger, or 10,000 agents."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.load import Ask, echo, echo_with_random_id, warmed_loop
from benchmarks.meshes import Fleet, mesh
from muster.agent import Client, connect

KEYS = ("ledger", "agents")
CONTRACTS = 1_000_000
AGENTS = 10_000
IN_FLIGHT = 200


async def filled(bench: Bench, kind: str, open_contracts: int = 0) -> Path:
    """A folder with a ledger of a million ended contracts, with ids as the SDK's or at random."""
    folder = bench.new_folder()
    bench.say(f"filling a ledger with {CONTRACTS:,} contracts, ids: {kind}")
    command = ("-m", "benchmarks.prefill", str(folder / "ledger.db"), str(CONTRACTS), kind)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, str(open_contracts), stdout=sys.stderr
    )
    if await process.wait():
        message = f"the ledger could not be filled: exit code {process.returncode}"
        raise RuntimeError(message)
    return folder


async def measure(bench: Bench) -> None:
    """All meshes are up at once, and work in turn; those that do not work are idle."""
    async with AsyncExitStack() as stack:

        async def client_of(folder: Path, fleet: Fleet) -> Client:
            running_mesh = await stack.enter_async_context(mesh(folder, fleet))
            return await stack.enter_async_context(connect(running_mesh.target))

        loads: dict[str, Ask] = {}
        usual = await client_of(bench.new_folder(), Fleet())
        loads["usual"] = echo(usual)
        if bench.wants("agents"):
            many = replace(Fleet(), agents=AGENTS)
            loads["10,000 agents"] = echo(await client_of(bench.new_folder(), many))
        if bench.wants("ledger"):
            loads["usual, random ids"] = echo_with_random_id(usual)
            loads["1 M, SDK ids"] = echo(await client_of(await filled(bench, "sdk"), Fleet()))
            folder = await filled(bench, "random")
            loads["1 M, random ids"] = echo_with_random_id(await client_of(folder, Fleet()))
        for number in range(bench.rounds):
            bench.say(f"grown meshes, round {number + 1} of {bench.rounds}")
            await _round(bench, loads)


async def _round(bench: Bench, loads: dict[str, Ask]) -> None:
    rates = {
        name: (await warmed_loop(ask, IN_FLIGHT, bench.seconds)).per_second
        for name, ask in loads.items()
    }
    for name, rate in rates.items():
        keys = ("agents",) if name == "10,000 agents" else ("ledger",)
        bench.note(KEYS if name == "usual" else keys, f"{name}, contracts/s", rate)
    if bench.wants("agents"):
        bench.add("agents", "ratio", rates["10,000 agents"] / rates["usual"])
    if bench.wants("ledger"):
        bench.add("ledger", "SDK ids", rates["1 M, SDK ids"] / rates["usual"])
        random_ids = rates["1 M, random ids"] / rates["usual, random ids"]
        bench.add("ledger", "random ids", random_ids)
