"""Starts the processes that are measured, and reads what they cost."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

READY_SECONDS = 60.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Child:
    """A process that was started for a measurement."""

    name: str
    process: asyncio.subprocess.Process


@asynccontextmanager
async def running(
    name: str, *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Runs `python …` while the block runs; its output goes to our stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={**os.environ, **(environment or {})},
        stdout=sys.stderr,
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
    async with (
        asyncio.timeout(READY_SECONDS),
        grpc.aio.insecure_channel(target, [("grpc.max_reconnect_backoff_ms", 200)]) as channel,
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


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
