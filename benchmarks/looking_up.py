"""10,000 idle agents: what they cost on 20 sessions or 10,000, and how fast one finds some."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

from benchmarks.bench import Bench
from benchmarks.figures import percentile
from benchmarks.load import closed_loop
from benchmarks.meshes import Fleet, fleet_of, mesh_process, until_attached
from benchmarks.processes import Child, cpu_seconds, memory_kib, running
from muster.model.versions import parse_selector, parse_version
from muster.registry.core import Presence
from muster.registry.core_agents import Agent, Filter, Key, Offer
from muster.v1.registry_service_pb2 import AgentFilter, ListAgentsRequest
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.wire.channel import open_channel

KEYS = ("idle-20", "idle-10000", "registry")
AGENTS = 10_000
SESSIONS = 20
PROCESSES = 8  # that hold sessions
CAPABILITIES = 100  # of 100 agents each
FOUND = 10  # agents that a look-up asks for
LOOK_UPS_MAX = 200_000
SETTLE_SECONDS = 3.0  # from the last attach until only heartbeats are left
IDLE_SECONDS = 10.0
KIB_TO_KB = 1.024
FLEET = Fleet(AGENTS, SESSIONS, processes=4)


async def measure(bench: Bench) -> None:
    """Memory is measured once, the rest in rounds."""
    if bench.wants("idle-20", "registry"):
        bench.say("10,000 agents on 20 sessions")
        async with mesh_process(bench.new_folder()) as (target, mesh):
            before = memory_kib(mesh.pid)
            async with fleet_of(target, FLEET):
                await _idle(bench, "idle-20", mesh, before)
                if bench.wants("registry"):
                    await _over_grpc(bench, target)
    if bench.wants("registry"):
        _in_process(bench)
    if bench.wants("idle-10000"):
        await _many_sessions(bench)


async def _many_sessions(bench: Bench) -> None:
    bench.say("10,000 sessions")
    async with AsyncExitStack() as stack:
        target, mesh = await stack.enter_async_context(mesh_process(bench.new_folder()))
        before = memory_kib(mesh.pid)
        began = time.monotonic()
        for number in range(PROCESSES):
            count = AGENTS // PROCESSES
            command = ("-m", "benchmarks.sessions_process", target, str(number * count), str(count))
            await stack.enter_async_context(running(f"sessions {number}", *command))
        await until_attached(target, AGENTS)
        bench.note("idle-10000", "seconds until all were attached", time.monotonic() - began)
        await _idle(bench, "idle-10000", mesh, before)


async def _idle(bench: Bench, key: str, mesh: Child, before: tuple[int, int]) -> None:
    """What a mesh that does nothing uses, once what attaching brought has passed."""
    if not bench.wants(key):
        return
    await asyncio.sleep(SETTLE_SECONDS)
    pss, rss = memory_kib(mesh.pid)
    bench.add(key, "memory per agent", (pss - before[0]) / AGENTS * KIB_TO_KB)
    bench.note(key, "RSS per agent (KB)", (rss - before[1]) / AGENTS * KIB_TO_KB)
    for _ in range(bench.rounds):
        used, began = cpu_seconds(mesh.pid), time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        share = (cpu_seconds(mesh.pid) - used) / (time.monotonic() - began)
        bench.add(key, "CPU", share * 100)


async def _over_grpc(bench: Bench, target: str) -> None:
    """Agents that offer the capability which all have: the longest list to find ten in."""
    wanted = AgentFilter()
    wanted.capability.name = "bench.echo"
    request = ListAgentsRequest(filter=wanted, page_size=FOUND)
    async with open_channel(target) as channel:
        stub = RegistryServiceStub(channel)

        async def ask() -> None:
            answer = await stub.ListAgents(request)
            assert len(answer.agents) == FOUND

        await closed_loop(ask, 1, bench.seconds / 4)
        for number in range(bench.rounds):
            bench.say(f"look-ups over gRPC, round {number + 1} of {bench.rounds}")
            load = await closed_loop(ask, 1, bench.seconds)
            bench.add("registry", "over gRPC", load.percentile_ms(0.99))
            bench.note("registry", "over gRPC, p50 (ms)", load.percentile_ms(0.5))


def _in_process(bench: Bench) -> None:
    presence = _filled()
    for number in range(bench.rounds):
        bench.say(f"look-ups in process, round {number + 1} of {bench.rounds}")
        times = list(_looked_up(presence, bench.seconds / 2))
        bench.add("registry", "in process", percentile(times, 0.99) * 1000)
        bench.note("registry", "in process, p50 (ms)", percentile(times, 0.5) * 1000)


def _filled() -> Presence:
    """A registry's core with the agents of one executor."""
    presence = Presence()
    version = parse_version("1.0.0")
    agents = [
        Agent(
            Key("default", f"agent-{number:05}"),
            offers=(Offer(f"bench.c{number % CAPABILITIES}", version),),
            session_id=f"s{number % SESSIONS}",
        )
        for number in range(AGENTS)
    ]
    presence.open_stream("executor", 1, agents, 0.0)
    return presence


def _looked_up(presence: Presence, seconds: float) -> Iterator[float]:
    selector = parse_selector("1")
    filters = [
        Filter(capability=f"bench.c{number}", selector=selector) for number in range(CAPABILITIES)
    ]
    ends_at = time.perf_counter() + seconds
    for number in range(LOOK_UPS_MAX):
        began = time.perf_counter()
        page = presence.page("default", filters[number % CAPABILITIES], "", FOUND)
        ended = time.perf_counter()
        assert len(page.agents) == FOUND
        yield ended - began
        if ended > ends_at:
            return
