"""Rows with those who do not read: watchers, and hosts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import grpc

from muster.agent import Ask, Client, ContractFailed, connect
from muster.agent.watching import Change
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability
from muster.v1.executor_service_pb2 import ConnectRequest
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.session_pb2 import Heartbeat, Hello
from muster.wire.channel import open_channel
from tests.faults.clients import percentile
from tests.faults.driving import judge, under_load
from tests.faults.probing import memory_bytes
from tests.faults.stage import NOISE, Stage, stage
from tests.faults.table import Row, Trial

CALM_SECONDS = 8.0
MIB_PER_STREAM_MAX = 8.0
SLOWER_MAX = 1.5  # times
SLOWER_SECONDS = 0.1  # less than that is not told from chance: tasks take up to 5 s by themselves

WATCHERS = 10
ROUNDS = 2
BURST = 8_000  # contracts; with four events each, more than any stream may hold
BURST_IN_FLIGHT = 200
CATCH_UP_SECONDS = 60.0

SLOW_HOSTS = 5
SLOW_CONTRACTS = 300  # for each
SLOW_TEXT = "x" * 8_000
SLOW_SECONDS = 20.0
BEAT_SECONDS = 1.0
ASKED_AT_ONCE, ASKED_PAUSE_SECONDS = 10, 0.05


async def slow_watcher(trial: Trial) -> None:
    """Watchers of everything do not read while 8,000 contracts pass, and then go on."""
    async with stage(trial.folder) as on, connect(tenant=NOISE) as noise:
        mesh = on.processes.running["mesh"].pid
        await on.machine.start(
            "crowd",
            *("-m", "tests.faults.crowd", "crowd", "1", "50"),
            environment={**on.mesh.environment(), "MUSTER_TENANT": NOISE},
        )
        async with under_load(on, trial) as drive:
            await drive.warm(CALM_SECONDS)
            alone, grown = list[int](), list[int]()
            usual, slowed, lagging = list[float](), list[float](), list[int]()
            for _ in range(ROUNDS):  # one after the other, as the machine may be busy with others
                async with begun_watchers(noise) as watchers, asyncio.TaskGroup() as tasks:
                    trial.say(f"{WATCHERS} watchers read, while {BURST:,} contracts pass")
                    for watcher in watchers:
                        tasks.create_task(watcher.read_on())
                    _note(await _measured(mesh, lambda: burst(noise), on), alone, usual)
                async with begun_watchers(noise) as watchers:
                    trial.say(f"{WATCHERS} watchers do not read, while {BURST:,} contracts pass")
                    _note(await _measured(mesh, lambda: burst(noise), on), grown, slowed)
                    trial.say("they go on")
                    lagging += await asyncio.gather(*(watcher.read_on() for watcher in watchers))
        await judge(on, trial, alone=False)
        trial.figure("memory that it takes when all of them read", max(alone) / 2**20, "MiB")
        each = max(grown) / WATCHERS / 2**20
        trial.most("memory per stalled stream", each, MIB_PER_STREAM_MAX, "MiB")
        _compare(trial, min(usual), min(slowed))
        trial.exactly("contracts that a watcher missed an event of", sum(lagging), 0)


def _note(measured: tuple[int, float], grown: list[int], slow: list[float]) -> None:
    grown.append(measured[0])
    slow.append(measured[1])


async def _measured(mesh: int, act: Callable[[], Awaitable[None]], on: Stage) -> tuple[int, float]:
    """How much the mesh has grown in bytes, and the p99 of the load beyond its tasks' own time."""
    before, began = memory_bytes(mesh), time.monotonic()
    await act()
    return memory_bytes(mesh) - before, overhead_p99(on, began)


def overhead_p99(on: Stage, since: float) -> float:
    """Of 99 % of the single tasks that began since then, the response took at most so many seconds
    more than the task itself. Those that met with a stall of the machine do not count."""
    return percentile(
        [
            beyond
            for begin, end, beyond in on.clients.overheads
            if begin >= since and not on.stalls.met(begin, end)
        ]
    )


def _compare(trial: Trial, usual: float, slowed: float) -> None:
    trial.figure("others' p99 beyond their task's time, before", usual, "s")
    trial.figure("and meanwhile", slowed, "s")
    times = slowed / max(usual, SLOWER_SECONDS)
    trial.most("that is slower by", times, SLOWER_MAX, "x")


async def burst(client: Client) -> None:
    """Many contracts that do nothing."""
    asks = (Ask("crowd.echo", {"text": "x"}) for _ in range(BURST))
    async for _ in client.stream(asks, in_flight=BURST_IN_FLIGHT):
        pass


class Watcher:
    """A watch of all of the tenant's contracts, which can stand still."""

    def __init__(self, changes: AsyncGenerator[Change, None]) -> None:
        self._changes = changes
        self._seen: dict[str, set[int]] = {}
        self._last: dict[str, int] = {}  # by contract that has ended, its last event

    async def begin(self) -> None:
        """Reads the first event, and then no more."""
        change = await anext(self._changes)
        self._seen.setdefault(change.contract_id, set()).add(change.sequence)

    async def read_on(self) -> int:
        """Reads until every contract of the burst has ended, as far as it was told; returns of how
        many it has missed an event."""
        async with asyncio.timeout(CATCH_UP_SECONDS):
            async for change in self._changes:
                self._seen.setdefault(change.contract_id, set()).add(change.sequence)
                if change.type == "ENDED":
                    self._last[change.contract_id] = change.sequence
                if len(self._last) >= BURST:
                    break
        return sum(len(self._seen[each]) < last for each, last in self._last.items())


@asynccontextmanager
async def begun_watchers(noise: Client) -> AsyncIterator[list[Watcher]]:
    """Watchers, each on a connection of its own, that have begun and read nothing more until they
    are told."""
    async with AsyncExitStack() as stack:
        since = await noise.position()
        made = []
        for _ in range(WATCHERS):
            client = await stack.enter_async_context(connect(tenant=NOISE))
            await client.position()  # so that it is connected
            changes = cast("AsyncGenerator[Change, None]", client.watch(since=since))
            stack.push_async_callback(changes.aclose)
            made.append(Watcher(changes))
        async with asyncio.TaskGroup() as tasks:
            for watcher in made:
                tasks.create_task(watcher.begin())
            await noise.call("crowd.echo", {"text": "first"})
        yield made


async def slow_host(trial: Trial) -> None:
    """Hosts take in nothing of what they are assigned, and say that they live."""
    async with stage(trial.folder) as on, connect(tenant=NOISE) as noise:
        mesh = on.processes.running["mesh"].pid
        async with under_load(on, trial) as drive, AsyncExitStack() as stack:
            await drive.warm()
            usual = overhead_p99(on, drive.began)
            async with asyncio.TaskGroup() as tasks:
                for number in range(SLOW_HOSTS):
                    await stack.enter_async_context(deaf_host(on, number, tasks))
                trial.say(f"{SLOW_HOSTS} hosts do not read what they are assigned")
                before, began = memory_bytes(mesh), time.monotonic()
                asked = tasks.create_task(_ask_the_deaf(noise))
                await asyncio.sleep(SLOW_SECONDS)
                grown = memory_bytes(mesh) - before
                slowed = overhead_p99(on, began)
                expired = await asked
                await stack.aclose()
        await judge(on, trial, alone=False)
        each = grown / SLOW_HOSTS / 2**20
        trial.most("memory per stalled stream, with its contracts", each, MIB_PER_STREAM_MAX, "MiB")
        _compare(trial, usual, slowed)
        trial.exactly("their contracts that expired", expired, SLOW_HOSTS * SLOW_CONTRACTS)


async def _ask_the_deaf(noise: Client) -> int:
    """Asks for what only they can do; returns how many contracts expired."""
    expired = 0

    async def asks() -> AsyncIterator[Ask]:
        for number in range(SLOW_HOSTS * SLOW_CONTRACTS):
            if number % ASKED_AT_ONCE == 0:  # so that the clients beside it do not wait for us
                await asyncio.sleep(ASKED_PAUSE_SECONDS)
            yield Ask("noise.deaf", {"text": SLOW_TEXT}, timeout=SLOW_SECONDS)

    async for handle in noise.stream(asks(), in_flight=SLOW_HOSTS * SLOW_CONTRACTS):
        try:
            await handle.result()
        except ContractFailed as failed:
            expired += failed.state == "EXPIRED"
    return expired


@asynccontextmanager
async def deaf_host(on: Stage, number: int, tasks: asyncio.TaskGroup) -> AsyncIterator[None]:
    """A host that reads its welcome and nothing after it, and whose heartbeats go on."""
    offer = Capability(name="noise.deaf", version="1.0.0")
    spec = AgentSpec(name=f"deaf-{number}", max_in_flight=SLOW_CONTRACTS, capabilities=[offer])
    hello = Hello(protocol_version=1, host=f"deaf-host-{number}", agents=[spec])
    async with open_channel(on.mesh.address("executor")) as channel:
        call = ExecutorServiceStub(channel).Connect(metadata=(("muster-tenant", NOISE),))
        await call.write(ConnectRequest(hello=hello))
        await call.read()

        async def beat() -> None:
            try:
                while True:
                    await call.write(ConnectRequest(heartbeat=Heartbeat()))
                    await asyncio.sleep(BEAT_SECONDS)
            except (grpc.RpcError, asyncio.InvalidStateError):
                return  # it was sent away

        beating = tasks.create_task(beat())
        yield
        beating.cancel()
        call.cancel()


ROWS = (
    Row("slow-watcher", "slow watcher: 10 that do not read", slow_watcher),
    Row("slow-host", "slow agent: 5 hosts that do not read", slow_host),
)
