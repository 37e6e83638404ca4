"""The audit by 620 agents, beside the same analysers in a plain process pool."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from benchmarks.bench import Bench
from benchmarks.meshes import AGENTS, until_attached
from benchmarks.processes import cpu_of_tree, executing, free_port, wait_until_serving
from muster.agent import Client, connect
from muster.audit import local
from muster.audit.canonical import digest
from muster.audit.collect import collect
from muster.audit.job import audit
from muster.audit.report_shapes import Findings
from muster.audit.shapes import Collection
from muster.cli.audit import default_fleet
from muster.supervisor.state import MeshState, read_state

KEYS = ("audit",)


async def measure(bench: Bench) -> None:
    """Rounds of both in turn. The mesh is up before the clock starts, as the pool's modules are."""
    collection = collect(None)
    folder, port = bench.new_folder(), free_port()
    command = (
        *(sys.executable, "-m", "muster.cli", "up", "--no-http", "--port", str(port)),
        *("--data-dir", str(folder), "--fleet", str(default_fleet())),
    )
    bench.say("a mesh with the audit's fleet")
    async with executing("muster up", *command, stdout=sys.stderr):
        target = f"127.0.0.1:{port}"
        await wait_until_serving(target)
        async with connect(target) as client:
            await until_attached(target, AGENTS)
            state = read_state(folder)
            assert state is not None
            for number in range(bench.rounds):
                bench.say(f"audit, round {number + 1} of {bench.rounds}: the mesh")
                wall, findings = await _by_mesh(bench, client, collection, state)
                bench.say(f"audit, round {number + 1} of {bench.rounds}: a process pool")
                began = time.monotonic()
                plain = await asyncio.to_thread(_by_pool, collection)
                pool_wall = time.monotonic() - began
                if digest(plain) != digest(findings):
                    message = "the mesh and the pool came to different findings"
                    raise RuntimeError(message)
                bench.add("audit", "wall", wall / pool_wall)
                bench.note("audit", "the mesh (s)", wall)
                bench.note("audit", "the process pool (s)", pool_wall)


def _by_pool(collection: Collection) -> Findings:
    return local.audit(collection, workers=os.cpu_count() or 1)


async def _by_mesh(
    bench: Bench, client: Client, collection: Collection, state: MeshState
) -> tuple[float, Findings]:
    pids = {process.name: process.pid for process in state.processes}
    before = {name: cpu_of_tree(pid) for name, pid in pids.items()}
    outcome = await audit(client, collection, lambda _: None)
    used = {name: cpu_of_tree(pid) - before[name] for name, pid in pids.items()}
    services = {process.name for process in state.processes if process.role == "service"}
    mesh = sum(used[name] for name in services)
    bench.add("audit", "mesh's share of the CPU", mesh / sum(used.values()) * 100)
    bench.note("audit", "CPU of the mesh process (s)", mesh)
    bench.note("audit", "CPU of the hosts and their workers (s)", sum(used.values()) - mesh)
    return outcome.wall_seconds, outcome.findings
