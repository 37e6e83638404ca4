"""The ground that sieges are laid on: a mesh process, an honest host and client beside it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import grpc

from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import CHANNEL_OPTIONS
from tests.faults.hostile.figures import Figure, Size
from tests.support.processes import Machine, MeshProcesses, Process, machine, until

CALM_SECONDS = 1.5  # without any siege, to know how quick the mesh is
READY_SECONDS = 20.0
SETTLED_SECONDS = 60.0  # until every honest contract has ended; none takes longer than 40 s
NEVER_MS = 2**31 - 1
MEMORY_LOOKS = 0.05  # seconds between two
MB = 1024 * 1024


class Asked(NamedTuple):
    """One contract of the honest client."""

    began: float
    seconds: float
    why: str  # it failed; empty when it did not


class Journal:
    """What the honest client has written down so far."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[dict[int, float], dict[int, Asked]]:
        """When each contract was asked for, and those that have ended."""
        begun: dict[int, float] = {}
        ended: dict[int, Asked] = {}
        text = self._path.read_text() if self._path.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.startswith("s ") and line.endswith("\n"):
                _, number, at = line.split()
                begun[int(number)] = float(at)
            elif line.endswith("\n"):
                _, number, at, why = line[:-1].split(" ", 3)
                start = begun[int(number)]
                ended[int(number)] = Asked(start, float(at) - start, why)
        return begun, ended

    async def between(self, start: float, end: float) -> list[Asked]:
        """The contracts asked for in this time, when all of them have ended."""
        found: list[Asked] = []

        def all_ended() -> bool:
            begun, ended = self.read()
            wanted = [number for number, at in begun.items() if start <= at <= end]
            found[:] = [ended[number] for number in wanted if number in ended]
            return len(found) == len(wanted)

        await until(all_ended, SETTLED_SECONDS, "every honest contract has ended")
        return found


def p99(asked: list[Asked]) -> float:
    """The 99th percentile of their seconds."""
    seconds = sorted(each.seconds for each in asked)
    return seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]


def memory_bytes(pid: int) -> int:
    """The memory that a process has to itself, and its share of the rest (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("this system does not tell the memory of a process")


class Siege:
    """One siege, from its beginning to its figures."""

    def __init__(self, ground: Ground, size: Size, name: str, memory_mb: float) -> None:
        self.size = size
        self._ground = ground
        self._name = name
        self._memory_mb = memory_mb
        self._memory = memory_bytes(ground.process.pid)
        self._highest = self._memory
        self._began = time.monotonic()
        self._said = len(ground.process.said)
        self.figures: list[Figure] = []

    @property
    def more_mb(self) -> float:
        """Memory of the mesh at its highest so far, beyond what it had before."""
        return (self._highest - self._memory) / MB

    def note(self, what: str, measured: float, bar: float, unit: str = "") -> None:
        """One figure more."""
        self.figures.append(Figure(f"{self._name}: {what}", measured, bar, unit))

    def look(self) -> None:
        """Notes how much memory the mesh has."""
        if self._ground.process.exit_code is None:
            self._highest = max(self._highest, memory_bytes(self._ground.process.pid))

    async def last(self, seconds: float | None = None) -> None:
        """The siege goes on, while honest work does."""
        await self.until(lambda: False, self.size.seconds if seconds is None else seconds)

    async def until(self, done: Callable[[], bool], seconds: float) -> None:
        """The siege goes on until this is so, or so many seconds are over."""
        ends = time.monotonic() + seconds
        while not done() and time.monotonic() < ends:
            self.look()
            await asyncio.sleep(MEMORY_LOOKS)

    async def lift(self) -> None:
        """The siege is over: puts down its figures."""
        self.look()
        ground, size = self._ground, self.size
        asked = await ground.journal.between(self._began, time.monotonic())
        failed = [each for each in asked if each.why]
        bar = max(size.latency_seconds, size.latency_ratio * ground.calm_p99)
        self.note("memory", self.more_mb, self._memory_mb, "MB")
        self.note("honest p99", p99(asked) if asked else float("inf"), bar, "s")
        self.note("honest failures", len(failed), 0)
        complaints = ground.complaints(self._said)
        self.note("complaints", len(complaints), 0)
        ground.details += [each.why for each in failed[:5]] + complaints[:5]


class Ground:
    """A mesh process and who works with it. Use `battleground`."""

    def __init__(self, machine: Machine, mesh: MeshProcesses, journal: Journal) -> None:
        self.machine = machine
        self.mesh = mesh
        self.journal = journal
        self.calm_p99 = 0.0
        self.details: list[str] = []  # of what went wrong, for people

    @property
    def target(self) -> str:
        """Where the mesh is."""
        return self.mesh.address("mesh")

    @property
    def process(self) -> Process:
        """The mesh."""
        return self.mesh.running["mesh"]

    def complaints(self, said_before: int = 0) -> list[str]:
        """What the mesh says of its own defects: lines of level error, and anything but lines."""
        found = []
        for line in self.process.said[said_before:].splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                found.append(line[:300])
                continue
            if entry.get("level") in ("error", "critical") and not _caller_has_gone(entry):
                found.append(line[:3000])
        if self.process.exit_code is not None:
            found.append(f"the mesh ended with {self.process.exit_code}")
        return found

    @asynccontextmanager
    async def siege(self, name: str, size: Size, memory_mb: float) -> AsyncIterator[Siege]:
        """A siege that lasts as long as the block, and its figures after it."""
        siege = Siege(self, size, name, memory_mb)
        yield siege
        await siege.lift()

    def channel(self, *options: tuple[str, int | str]) -> grpc.aio.Channel:
        """A connection of its own; `options` come before ours."""
        # A machine that is busy with a siege may well be late with an answer to a ping.
        options = (*options, ("grpc.keepalive_time_ms", NEVER_MS))
        named = {name for name, _ in options}
        rest = tuple(option for option in CHANNEL_OPTIONS if option[0] not in named)
        return grpc.aio.insecure_channel(self.target, (*options, *rest))

    @staticmethod
    def stubs_of(channel: grpc.aio.Channel) -> Stubs:
        """All services over this connection."""
        return Stubs(channel)

    async def stubs(self, stack: AsyncExitStack) -> Stubs:
        """All services over one more connection, which ends with `stack`."""
        channel = await stack.enter_async_context(self.channel())
        await channel.channel_ready()
        return Stubs(channel)

    async def calm(self) -> None:
        """Measures how quick the mesh is when nobody means harm."""
        start = time.monotonic()
        await asyncio.sleep(CALM_SECONDS)
        asked = await self.journal.between(start, time.monotonic())
        assert asked
        assert not [each.why for each in asked if each.why]
        self.calm_p99 = p99(asked)


def _caller_has_gone(entry: dict[str, str]) -> bool:
    """Nobody is there to be told that a call is over; none of our code runs any more."""
    trace = entry.get("exception", "")
    return "ExecuteBatchError: Failed" in trace and "/muster/" not in trace


class Stubs:
    """All services over one connection."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.scheduler = SchedulerServiceStub(channel)
        self.executor = ExecutorServiceStub(channel)
        self.registry = RegistryServiceStub(channel)


@asynccontextmanager
async def battleground(folder: Path, **settings: str) -> AsyncIterator[Ground]:
    """A mesh in one process, with an honest host and client that work all the time."""
    async with machine(folder) as started:
        mesh = MeshProcesses(started, "all-in-one", folder / "data", settings)
        path = folder / "honest.journal"
        journal = Journal(path)
        ground = Ground(started, mesh, journal)
        await mesh.start()
        await started.start("honest", "-m", "tests.faults.hostile.honest", ground.target, str(path))
        await until(lambda: bool(journal.read()[1]), READY_SECONDS, "the honest ones work")
        await ground.calm()
        yield ground
