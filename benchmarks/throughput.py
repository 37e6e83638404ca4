"""Durable contracts per second, beside raw grpc.aio in the same run.

Workload: an echo capability with a 200-byte payload through the full path: client process → mesh
process (validation, ledger with fsync and fence, placement) → agent host processes → back as a
recorded response. 620 agents on 8 hosts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from benchmarks.processes import (
    Child,
    cpu_seconds,
    memory_kib,
    running,
    wait_until_serving,
)
from benchmarks.raw_echo import METHOD
from muster.agent import Client, connect
from muster.v1.registry_service_pb2 import WatchAgentsRequest
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.v1.scheduler_service_pb2 import GetStatisticsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.times import seconds_of_duration

AGENTS = 620
HOSTS = 8
WINDOW = 4
PAYLOAD_BYTES = 200
RAW_IN_FLIGHT = 256


@dataclass
class Figures:
    """What one round measured."""

    contracts_per_second: dict[int, float] = field(default_factory=dict)  # by contracts in flight
    raw_per_second: float = 0.0
    p50_ms: float = 0.0  # one contract at a time
    commit_p50_ms: float = 0.0
    commit_p99_ms: float = 0.0
    cpu_us: dict[str, float] = field(default_factory=dict)  # per contract, by process, at 200
    memory_mib: dict[str, tuple[float, float]] = field(default_factory=dict)  # PSS, RSS


@asynccontextmanager
async def mesh(data_dir: Path, port: int) -> AsyncIterator[tuple[str, list[Child]]]:
    """A mesh with the fleet of the benchmark: its target and its processes."""
    target = f"127.0.0.1:{port}"
    environment = {
        "MUSTER_DATA_DIR": str(data_dir),
        "MUSTER_GRPC_PORT": str(port),
        "MUSTER_HTTP_PORT": "none",
        "MUSTER_LOG_LEVEL": "warning",
    }
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(
                running("mesh", "-m", "muster.allinone", environment=environment)
            )
        ]
        await wait_until_serving(target)
        for number in range(HOSTS):
            count = AGENTS // HOSTS + (number < AGENTS % HOSTS)
            command = ("-m", "benchmarks.echo_host", target, f"h{number}", str(count), str(WINDOW))
            children.append(await stack.enter_async_context(running(f"host {number}", *command)))
        await _until_attached(target)
        yield target, children


async def _until_attached(target: str) -> None:
    """Returns when the whole fleet is there."""
    names: set[str] = set()
    async with grpc.aio.insecure_channel(target) as channel, asyncio.timeout(60):
        watch = RegistryServiceStub(channel).WatchAgents(WatchAgentsRequest())
        async for frame in watch:
            names.update(change.agent.spec.name for change in frame.changes)
            if len(names) >= AGENTS:
                watch.cancel()
                return


async def contracts_per_second(client: Client, in_flight: int, seconds: float) -> tuple[float, int]:
    """Contracts that ended per second of a closed loop, and how many there were."""
    text = "x" * PAYLOAD_BYTES
    ends_at = time.perf_counter() + seconds
    done = 0

    async def loop() -> None:
        nonlocal done
        while time.perf_counter() < ends_at:
            await client.call("bench.echo", {"text": text})
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(in_flight)))
    return done / (time.perf_counter() - began), done


async def latency_p50_ms(client: Client, seconds: float) -> float:
    """Median of one contract at a time."""
    times = []
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        began = time.perf_counter()
        await client.call("bench.echo", {"text": "x" * PAYLOAD_BYTES})
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] * 1000


async def raw_per_second(port: int, seconds: float) -> float:
    """Unary calls per second on plain grpc.aio."""
    payload = b"x" * PAYLOAD_BYTES
    async with (
        running("raw", "-m", "benchmarks.raw_echo", str(port)),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        await call(payload, wait_for_ready=True)
        ends_at = time.perf_counter() + seconds
        done = 0

        async def loop() -> None:
            nonlocal done
            while time.perf_counter() < ends_at:
                await call(payload)
                done += 1

        began = time.perf_counter()
        await asyncio.gather(*(loop() for _ in range(RAW_IN_FLIGHT)))
        return done / (time.perf_counter() - began)


async def one_round(data_dir: Path, port: int, seconds: float) -> Figures:
    """Everything once."""
    figures = Figures()
    async with mesh(data_dir, port) as (target, children):
        figures.memory_mib = {
            child.name: tuple(kib / 1024 for kib in memory_kib(child.process.pid))  # type: ignore[misc]
            for child in children
        }
        async with connect(target) as client:
            await contracts_per_second(client, 200, seconds / 4)
            before = {child.name: cpu_seconds(child.process.pid) for child in children}
            rate, done = await contracts_per_second(client, 200, seconds)
            figures.contracts_per_second[200] = rate
            for child in children:
                used = cpu_seconds(child.process.pid) - before[child.name]
                figures.cpu_us[child.name] = used / done * 1e6
            rate, _ = await contracts_per_second(client, 1000, seconds)
            figures.contracts_per_second[1000] = rate
            figures.p50_ms = await latency_p50_ms(client, seconds / 2)
        async with grpc.aio.insecure_channel(target) as channel:
            statistics = await SchedulerServiceStub(channel).GetStatistics(GetStatisticsRequest())
        figures.commit_p50_ms = seconds_of_duration(statistics.commit_p50) * 1000
        figures.commit_p99_ms = seconds_of_duration(statistics.commit_p99) * 1000
    figures.raw_per_second = await raw_per_second(port + 1, seconds)
    return figures
