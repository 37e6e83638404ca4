"""The mesh on PostgreSQL, NATS and Consul beside the embedded one; two of each service and one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.capping import CapMissing, capped
from benchmarks.full_meshes import FullMesh, full_mesh
from benchmarks.load import Ask, Costs, Load, closed_loop, echo, in_turn, warmed_loop
from benchmarks.meshes import mesh
from muster.agent import connect
from muster.servers.server import ServerMissing

KEYS = ("full", "scaling")
IN_FLIGHT = 200
CORES = 0.2  # of each scheduler and executor that is capped


@dataclass(frozen=True)
class _Subject:
    """A mesh whose turn comes in every round."""

    name: str
    ask: Ask
    pids: dict[str, int]
    capped: list[int]


async def measure(bench: Bench) -> None:
    """All meshes are up at once, and work in turn; those that do not work are idle."""
    async with AsyncExitStack() as stack:
        try:
            subjects = await _subjects(bench, stack)
        except ServerMissing as reason:
            for key in KEYS:
                if bench.wants(key):
                    bench.skip(key, str(reason))
            return
        for number in range(bench.rounds):
            bench.say(f"the full profile, round {number + 1} of {bench.rounds}")
            if bench.wants("full"):
                await _full(bench, subjects)
            if bench.wants("scaling"):
                await _scaling(bench, subjects)


async def _subjects(bench: Bench, stack: AsyncExitStack) -> dict[int, _Subject]:
    """By how many there are of each service; 0 is the embedded mesh."""
    made: dict[int, _Subject] = {}
    if bench.wants("full"):
        embedded = await stack.enter_async_context(mesh(bench.new_folder()))
        client = await stack.enter_async_context(connect(embedded.target))
        made[0] = _Subject("embedded", echo(client), embedded.pids, [])
    for each in (1, 2):
        bench.say(f"a mesh with {each} of each service, on PostgreSQL, NATS and Consul")
        full: FullMesh = await stack.enter_async_context(full_mesh(bench.new_folder(), each))
        # As many clients for either mesh, so that what a client can do limits both alike.
        places = full.schedulers * (2 // each)
        clients = [await stack.enter_async_context(connect(place)) for place in places]
        pids = [child.pid for child in full.services if not child.name.startswith("registry")]
        asks = [echo(client) for client in clients]
        made[each] = _Subject(f"{each} of each", in_turn(asks), full.pids, pids)
    return made


async def _full(bench: Bench, subjects: dict[int, _Subject]) -> None:
    loads: dict[int, Load] = {}
    for each, subject in subjects.items():
        name = subject.name
        alone = await warmed_loop(subject.ask, 1, bench.seconds / 2)
        bench.note("full", f"{name}, one at a time, p50 (ms)", alone.percentile_ms(0.5))
        loads[each] = load = await _loaded(bench, subject)
        bench.note("full", f"{name}, contracts/s", load.per_second)
        bench.note("full", f"{name}, p50 at {IN_FLIGHT} in flight (ms)", load.percentile_ms(0.5))
        bench.note("full", f"{name}, p99 at {IN_FLIGHT} in flight (ms)", load.percentile_ms(0.99))
        if each:
            bench.add("full", f"{name}, one at a time, p50", alone.percentile_ms(0.5))
    for each in (1, 2):
        bench.add("full", subjects[each].name, loads[each].per_second / loads[0].per_second)


async def _loaded(bench: Bench, subject: _Subject) -> Load:
    await closed_loop(subject.ask, IN_FLIGHT, bench.seconds / 4)
    costs = Costs(subject.pids)
    load = await closed_loop(subject.ask, IN_FLIGHT, bench.seconds)
    for kind, microseconds in costs.microseconds(len(load.seconds)).items():
        bench.note("full", f"{subject.name}, CPU of a contract, {kind} (µs)", microseconds)
    return load


async def _scaling(bench: Bench, subjects: dict[int, _Subject]) -> None:
    rates: dict[int, float] = {}
    for each in (1, 2):
        subject = subjects[each]
        try:
            with capped(subject.capped, CORES):
                load = await warmed_loop(subject.ask, IN_FLIGHT, bench.seconds)
        except CapMissing as reason:
            bench.skip("scaling", str(reason))
            return
        rates[each] = load.per_second
        bench.note("scaling", f"{subject.name}, contracts/s", load.per_second)
    bench.add("scaling", "ratio", rates[2] / rates[1])
