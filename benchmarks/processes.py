"""Starts the processes that are measured, and reads what they cost."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

READY_SECONDS = 120.0  # the 10,000 sessions take half of it
STOP_SECONDS = 20.0
IDLE_CORES, IDLE_SECONDS = 0.1, 1.0  # what counts as doing nothing, and for how long
KIB = 1024
# What reading of a process or a thread in /proc raises when it has ended.
_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True)
class Child:
    """A process that was started for a measurement."""

    name: str
    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running(
    name: str, *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Runs `python …` while the block runs; its output goes to our stderr."""
    async with executing(name, sys.executable, *command, environment=environment) as child:
        yield child


@asynccontextmanager
async def executing(
    name: str,
    *command: str,
    environment: Mapping[str, str] | None = None,
    stdout: Any = sys.stderr,
) -> AsyncIterator[Child]:
    """Runs a program while the block runs, and ends it with SIGTERM."""
    own = ("MUSTER_", "GRPC_")  # variables of ours, which are none of theirs
    clean = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**clean, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
    )
    try:
        yield Child(name, process)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def wait_until_serving(target: str) -> None:
    """Returns when every service at the target is SERVING. Raises `TimeoutError`."""
    options = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)]
    options += [("grpc.min_reconnect_backoff_ms", 20), ("grpc.use_local_subchannel_pool", 1)]
    async with (
        asyncio.timeout(READY_SECONDS),
        grpc.aio.insecure_channel(target, options) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        call = stub.Watch(request, wait_for_ready=True)
        async for reply in call:
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                call.cancel()
                return


def memory_kib(pid: int) -> tuple[int, int]:
    """PSS and RSS of a process, in KiB; shared pages are counted in part, and in full."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return int(fields["Pss"].split()[0]), int(fields["Rss"].split()[0])


def memory_mib(pids: Iterable[int]) -> tuple[float, float]:
    """PSS and RSS of processes together, in MiB."""
    pairs = [memory_kib(pid) for pid in pids]
    return sum(pss for pss, _ in pairs) / KIB, sum(rss for _, rss in pairs) / KIB


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def idle(pids: Sequence[int]) -> None:
    """Returns when processes together use less than a tenth of a core. Raises `TimeoutError`."""
    async with asyncio.timeout(READY_SECONDS):
        used = IDLE_CORES
        while used >= IDLE_CORES:
            before = sum(map(cpu_seconds, pids))
            await asyncio.sleep(IDLE_SECONDS)
            used = (sum(map(cpu_seconds, pids)) - before) / IDLE_SECONDS


def cpu_of_tree(pid: int) -> float:
    """CPU time of a process, of its children that live, and of those that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    used = sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    for child in children_of(pid):
        with suppress(*_GONE):  # it counts with its parent, as a child that was waited for
            used += cpu_of_tree(child)
    return used


def children_of(pid: int) -> list[int]:
    """Processes that a process has started and that live."""
    children: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(*_GONE):  # threads come and go
            children += (task / "children").read_text().split()
    return [int(child) for child in children]
