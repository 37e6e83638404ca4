"""The mesh on PostgreSQL, NATS and Consul beside the embedded one; two of each service and one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.capping import CapMissing, capped
from benchmarks.full_meshes import FullMesh, full_mesh
from benchmarks.load import Ask, Costs, Load, closed_loop, echo, in_turn, warmed_loop
from benchmarks.meshes import mesh
from benchmarks.processes import idle
from muster.agent import Client, connect
from muster.servers.server import ServerMissing
from muster.wire.times import seconds_of_duration

KEYS = ("full", "scaling")
IN_FLIGHT = 200
IN_FLIGHT_MANY = 1_000
CORES = 0.2  # of each scheduler and executor that is capped


@dataclass(frozen=True)
class _Subject:
    """A mesh whose turn comes in every round."""

    name: str
    client: Client
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
        made[0] = _Subject("embedded", client, echo(client), embedded.pids, [])
    for each in (1, 2):
        bench.say(f"a mesh with {each} of each service, on PostgreSQL, NATS and Consul")
        full: FullMesh = await stack.enter_async_context(full_mesh(bench.new_folder(), each))
        # As many clients for either mesh, so that what a client can do limits both alike.
        places = full.schedulers * (2 // each)
        clients = [await stack.enter_async_context(connect(place)) for place in places]
        pids = [child.pid for child in full.services if not child.name.startswith("registry")]
        ask = in_turn([echo(client) for client in clients])
        made[each] = _Subject(f"{each} of each", clients[0], ask, full.pids, pids)
    return made


async def _full(bench: Bench, subjects: dict[int, _Subject]) -> None:
    for subject in subjects.values():
        alone = await warmed_loop(subject.ask, 1, bench.seconds / 2)
        bench.note("full", f"{subject.name}, one at a time, p50 (ms)", alone.percentile_ms(0.5))
        if subject.capped:
            bench.add("full", f"{subject.name}, one at a time, p50", alone.percentile_ms(0.5))
    for in_flight in (IN_FLIGHT, IN_FLIGHT_MANY):
        rates = {
            each: (await _loaded(bench, subject, in_flight)).per_second
            for each, subject in subjects.items()
        }
        for each in (1, 2):
            name = f"{subjects[each].name}, {in_flight:,} in flight"
            bench.add("full", name, rates[each] / rates[0])


async def _loaded(bench: Bench, subject: _Subject, in_flight: int) -> Load:
    await closed_loop(subject.ask, in_flight, bench.seconds / 4)
    costs = Costs(subject.pids)
    load = await closed_loop(subject.ask, in_flight, bench.seconds)
    name = f"{subject.name}, {in_flight:,} in flight"
    bench.note("full", f"{name}, contracts/s", load.per_second)
    bench.note("full", f"{name}, p50 (ms)", load.percentile_ms(0.5))
    bench.note("full", f"{name}, p99 (ms)", load.percentile_ms(0.99))
    statistics = await subject.client.statistics()
    commit = seconds_of_duration(statistics.commit_p50) * 1e3
    bench.note("full", f"{name}, the ledger's commits, p50 (ms)", commit)
    for kind, microseconds in costs.microseconds(len(load.seconds)).items():
        bench.note("full", f"{name}, CPU of a contract, {kind} (µs)", microseconds)
    return load


async def _scaling(bench: Bench, subjects: dict[int, _Subject]) -> None:
    rates: dict[int, float] = {}
    for each in (1, 2):
        subject = subjects[each]
        await idle(subject.capped)  # events of the loads before are still being published
        try:
            with capped(subject.capped, CORES):
                load = await warmed_loop(subject.ask, IN_FLIGHT_MANY, bench.seconds)
        except CapMissing as reason:
            bench.skip("scaling", str(reason))
            return
        rates[each] = load.per_second
        bench.note("scaling", f"{subject.name}, contracts/s", load.per_second)
    bench.add("scaling", "ratio", rates[2] / rates[1])
