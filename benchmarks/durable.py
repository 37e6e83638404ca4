"""Durable contracts per second beside the peers, and one at a time; memory of the idle fleet."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.drivers import PeerMissing, prepare, require, run_peer
from benchmarks.load import Costs, Load, closed_loop, echo, raw_echoes, warmed_loop
from benchmarks.meshes import Mesh, mesh
from benchmarks.processes import free_port, memory_mib, running
from benchmarks.profiling import profiled
from muster.agent import Client, connect
from muster.wire.times import seconds_of_duration

KEYS = ("autogen", "raw", "dbos", "celery", "alone", "memory")
PEERS = ("autogen", "dbos", "celery")
IN_FLIGHT = 200
IN_FLIGHT_MANY = 1_000
MB_PER_MIB = 2**20 / 1e6


async def measure(bench: Bench) -> None:
    """Every round: the mesh, then each peer that a row asks for."""
    peers = _peers(bench)
    for number in range(bench.rounds):
        bench.say(f"durable contracts, round {number + 1} of {bench.rounds}: the mesh")
        figures = await _mesh_round(bench, profile=number == 0)
        for name in peers:
            bench.say(f"durable contracts, round {number + 1} of {bench.rounds}: {name}")
            answer = await run_peer(name, bench.new_folder(), bench.seconds, IN_FLIGHT)
            _compare(bench, name, answer, figures)
        if bench.wants("raw"):
            await _raw(bench, figures["many"])


def _peers(bench: Bench) -> list[str]:
    wanted = [name for name in PEERS if bench.wants(name)]
    if bench.wants("alone") and "autogen" not in wanted:
        wanted.append("autogen")
    if not wanted:
        return []
    bench.say("the peers' environment")
    able = []
    try:
        prepare()
    except PeerMissing as missing:
        for name in wanted:
            bench.skip(name, str(missing))
        return []
    for name in wanted:
        try:
            require(name)
            able.append(name)
        except PeerMissing as missing:
            bench.skip(name, str(missing))
    return able


async def _mesh_round(bench: Bench, *, profile: bool) -> dict[str, Any]:
    """One mesh, freshly started: idle, 200 in flight, 1,000 in flight, one at a time."""
    figures: dict[str, Any] = {}
    async with mesh(bench.new_folder()) as running_mesh, connect(running_mesh.target) as client:
        if bench.wants("memory"):
            _memory(bench, running_mesh)
        if bench.wants(*PEERS):
            figures["some"] = await _loaded(bench, running_mesh, client, IN_FLIGHT)
        if bench.wants("raw"):
            figures["many"] = await _loaded(bench, running_mesh, client, IN_FLIGHT_MANY)
        if bench.wants("alone"):
            figures["alone"] = await _alone(bench, client)
        if profile and bench.profile is not None:
            await _profile(bench, running_mesh, client, bench.profile)
    return figures


def _memory(bench: Bench, running_mesh: Mesh) -> None:
    everything = memory_mib(running_mesh.pids.values())
    for name, mib in zip(("PSS", "RSS"), everything, strict=True):
        bench.add("memory", name, mib * MB_PER_MIB)
    pss, rss = memory_mib([running_mesh.mesh.pid])
    bench.note("memory", "the mesh alone, PSS (MB)", pss * MB_PER_MIB)
    bench.note("memory", "the mesh alone, RSS (MB)", rss * MB_PER_MIB)


async def _loaded(bench: Bench, running_mesh: Mesh, client: Client, in_flight: int) -> Load:
    await closed_loop(echo(client), in_flight, bench.seconds / 4)
    costs = Costs(running_mesh.pids)
    load = await closed_loop(echo(client), in_flight, bench.seconds)
    beside = ("raw",) if in_flight == IN_FLIGHT_MANY else PEERS
    keys = next(key for key in beside if bench.wants(key))
    bench.note(keys, "contracts/s", load.per_second)
    bench.note(keys, "p50 of a contract (ms)", load.percentile_ms(0.5))
    bench.note(keys, "p99 of a contract (ms)", load.percentile_ms(0.99))
    for name, microseconds in costs.microseconds(len(load.seconds)).items():
        bench.note(keys, f"CPU of a contract, {name} (µs)", microseconds)
    statistics = await client.statistics()
    for name, duration in (("50", statistics.commit_p50), ("99", statistics.commit_p99)):
        bench.note(keys, f"the ledger's commits, p{name} (ms)", seconds_of_duration(duration) * 1e3)
    return load


async def _alone(bench: Bench, client: Client) -> float:
    since = time.monotonic()
    load = await warmed_loop(echo(client), 1, bench.seconds / 2)
    p50, commit = load.percentile_ms(0.5), bench.commits.percentile_ms(0.5, since)
    bench.add("alone", "beyond 2 commits", p50 - 2 * commit)
    bench.note("alone", "p50 (ms)", p50)
    bench.note("alone", "commit of one row with fsync, p50 (ms)", commit)
    bench.note("alone", "÷ that commit", p50 / commit if commit else 0.0)
    return p50


def _compare(bench: Bench, name: str, answer: dict[str, Any], figures: dict[str, Any]) -> None:
    if bench.wants(name):
        bench.add(name, "ratio", figures["some"].per_second / answer["per_second"])
        bench.note(name, f"{name}, answers/s", answer["per_second"])
        bench.note(name, f"{name}, CPU of an answer (µs)", answer["cpu_us"])
        versions = ", ".join(
            f"{package} {number}" for package, number in answer["versions"].items()
        )
        bench.note(name, "measured against", versions)
    if name == "autogen" and "alone" in figures:
        bench.add("alone", "ratio", figures["alone"] / answer["p50_ms"])
        bench.note("alone", "AutoGen's p50 (ms)", answer["p50_ms"])


async def _raw(bench: Bench, many: Load) -> None:
    port = free_port()
    async with running("raw", "-m", "benchmarks.raw_echo", str(port)) as child:
        costs = Costs({child.name: child.pid})
        load = await raw_echoes(port, bench.seconds)
        used = costs.microseconds(len(load.seconds))
    bench.add("raw", "ratio", many.per_second / load.per_second)
    bench.note("raw", "raw grpc.aio, answers/s", load.per_second)
    bench.note("raw", "raw grpc.aio, CPU of an answer, server and client (µs)", sum(used.values()))


async def _profile(bench: Bench, running_mesh: Mesh, client: Client, folder: Path) -> None:
    bench.say(f"profile of the mesh at {IN_FLIGHT} in flight, to {folder}")
    costs = Costs(running_mesh.pids)
    async with profiled(running_mesh.mesh.pid, folder, bench.seconds) as recorded:
        load = await closed_loop(echo(client), IN_FLIGHT, recorded.seconds)
    recorded.conclude(costs.microseconds(len(load.seconds))["mesh"])
