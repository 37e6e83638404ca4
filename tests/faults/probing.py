"""Probes: small things that are asked for all the time, to see whether others are harmed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from muster.agent import Client
from muster.model.errors import MusterError
from tests.faults.clients import percentile
from tests.faults.stalls import Stalls

PROBE_SECONDS = 0.05  # between two probes of one kind
CLIENT_LIST_MOST = 5


class Probe:
    """How long each probe took, and which failed."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []  # by the monotonic clock
        self.failures: list[str] = []

    def p99(self, stalls: Stalls) -> float:
        """99 % took at most so many seconds, of those that met with no stall of the machine."""
        return percentile([end - begin for begin, end in self.spans if not stalls.met(begin, end)])


@asynccontextmanager
async def probing(*operations: Callable[[], Awaitable[object]]) -> AsyncIterator[Probe]:
    """Does these things again and again while the block runs, each by itself."""
    probe = Probe()

    async def repeat(operation: Callable[[], Awaitable[object]]) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                await operation()
            except MusterError as error:
                name = getattr(operation, "__name__", "probe")
                probe.failures.append(f"{name}: {error.code.name} {error.message}")
            probe.spans.append((began, time.monotonic()))
            await asyncio.sleep(PROBE_SECONDS)

    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for operation in operations:
            tasks.create_task(repeat(operation))
        try:
            yield probe
        finally:
            over.set()


def operations_of(client: Client) -> tuple[Callable[[], Awaitable[object]], ...]:
    """What a client of the SDK can ask for that changes nothing."""

    async def list_contracts() -> object:
        return [contract async for contract in client.list(most=CLIENT_LIST_MOST)]

    async def list_agents() -> object:
        return [agent async for agent in client.agents()]

    async def list_capabilities() -> object:
        return [entry async for entry in client.capabilities("fault.")]

    async def statistics() -> object:
        return await client.statistics()

    return list_contracts, list_agents, list_capabilities, statistics


def memory_bytes(pid: int) -> int:
    """The memory of a process, what it shares divided by those who share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(words[11]) + int(words[12])) / 100
