"""Random faults every few seconds, for as long as one likes. The seed alone makes the plan."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.driving import Drive, judge, open_contracts, under_load
from tests.faults.proxy import Proxy, Way
from tests.faults.stage import BACKENDS, FULL, HOSTS, Setup, Stage, stage
from tests.faults.table import Row, Trial
from tests.support.history import OWNER, PART
from tests.support.processes import until

NAME = "soak"
FULL_NAME = "full-soak"
RATE = 55.0  # contracts a second: 25,000 in 10 minutes, with a tenth to spare
CONTRACTS_PER_SECOND_MIN = 25_000 / 600
PAUSE_SECONDS_MEAN = 4.0  # between the beginnings of two faults
CALM_SECONDS = 10.0  # at the beginning, and at the end
SUMMARY_SECONDS = 60.0
SERVES_SECONDS_MAX = 60.0  # until a replica serves again
AFTERWARDS_SECONDS_MAX = 300.0  # until everything has ended, was read back and checked

ALL = "everything"
SERVICES = ("scheduler", "executor", "registry")


@dataclass(frozen=True)
class Planned:
    """A fault that is to begin `at` so many seconds, and to be healed `seconds` later."""

    at: float
    kind: str
    target: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.kind} {self.target}, {self.seconds:.1f} s"


# kind -> (weight, kind of target, longest duration in seconds)
KINDS: Mapping[str, tuple[float, str, float]] = {
    "kill": (3, "host", 3.0),
    "leave": (1, "host", 2.0),
    "stop": (2, "host", 15.0),
    "kill-service": (2, "service", 1.0),
    "restart-service": (1, "service", 0.5),
    "stop-service": (2, "service", 5.0),
    "kill-all": (0.4, ALL, 1.0),
    "hold": (2, "wire", 12.0),
    "hold-there": (2, "wire", 12.0),
    "hold-back": (2, "wire", 12.0),
    "delay": (2, "wire", 10.0),
    "cut": (2, "wire", 0.1),
    "cut-inside-there": (1, "wire", 3.0),
    "cut-inside-back": (1, "wire", 3.0),
    "close-there": (1, "wire", 2.0),
    "close-back": (1, "wire", 2.0),
    "refuse": (1, "wire", 4.0),
    "kill-replica": (4, "replica", 0.0),
    "stop-replica": (3, "replica", 12.0),
    "kill-server": (2, "server", 8.0),
}
TARGETS: Mapping[str, tuple[str, ...]] = {
    "host": tuple(f"host-{number}" for number in range(HOSTS)),
    "service": SERVICES,
    "wire": (*(f"host-{number}" for number in range(HOSTS)), "link", "link", "clients"),
    ALL: (ALL,),
    "replica": tuple(f"{service}-{number}" for service in SERVICES for number in (1, 2)),
    "server": BACKENDS,
}
# What faults are about: proxies stand between single services, and supervisors start replicas.
GROUPS: Mapping[str, frozenset[str]] = {
    NAME: frozenset({"host", "service", "wire", ALL}),
    FULL_NAME: frozenset({"host", "replica", "server"}),
}
SETUPS: Mapping[str, Setup] = {NAME: Setup("separate", proxied=True), FULL_NAME: Setup(FULL)}


def plan(seed: int, seconds: float, name: str = NAME) -> list[Planned]:
    """The faults of a soak of so many seconds."""
    dice = random.Random(f"{name} {seed}")
    kinds = {kind: each for kind, each in KINDS.items() if each[1] in GROUPS[name]}
    weights = [weight for weight, _, _ in kinds.values()]
    made: list[Planned] = []
    at = CALM_SECONDS
    while True:
        at += dice.expovariate(1 / PAUSE_SECONDS_MEAN)
        (kind,) = dice.choices(list(kinds), weights)
        _, group, longest = KINDS[kind]
        target, lasts = dice.choice(TARGETS[group]), dice.uniform(longest / 10, longest)
        if at + lasts > seconds - CALM_SECONDS:
            return made
        made.append(Planned(at, kind, target, lasts))


# --- doing it -------------------------------------------------------------------------------------


async def soak(trial: Trial, seconds: float, name: str = NAME) -> None:
    """Carries a plan out, under load, and judges what became of the promise."""
    faults = plan(trial.seed, seconds, name)
    for planned in faults:
        trial.say(f"planned {planned}")
    async with stage(trial.folder, SETUPS[name]) as on:
        async with under_load(on, trial, RATE) as drive:
            async with asyncio.TaskGroup() as tasks:
                striking = tasks.create_task(_strike_all(on, trial, faults, drive.began))
                telling = tasks.create_task(_tell(on, trial, drive, seconds))
                await striking
                await telling
            await on.agents_ready()
        history = await judge(on, trial, deadly=True)
        trial.figure("faults", len(faults))
        contracts = len({each.contract_id for each in history.listings})
        trial.least("contracts", contracts, round(CONTRACTS_PER_SECOND_MIN * seconds))


async def _tell(on: Stage, trial: Trial, drive: Drive, seconds: float) -> None:
    """Says once a minute how things are, until the time is over."""
    minute = 0
    while (left := drive.began + seconds - time.monotonic()) > 0:
        since = time.monotonic()
        await asyncio.sleep(min(left, SUMMARY_SECONDS))
        minute += 1
        trial.say(
            f"minute {minute}: {drive.offered:,} asked, {len(on.clients.answered):,} answered, "
            f"{await open_contracts(on)} open, p99 {drive.p99(since):.1f} s"
        )


async def _strike_all(on: Stage, trial: Trial, faults: list[Planned], began: float) -> None:
    """Each fault at its time; one after the other where they are about the same thing."""
    turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def strike(planned: Planned) -> None:
        await asyncio.sleep(max(0.0, began + planned.at - time.monotonic()))
        wanted = [*SERVICES, *TARGETS["host"]] if planned.target == ALL else [planned.target]
        for name in wanted:
            await turns[name].acquire()
        try:
            trial.say(f"{planned.kind} {planned.target}")
            group = KINDS[planned.kind][1]
            effect = PART if planned.target.startswith("host") else OWNER
            with on.fault(planned.kind, planned.target, effect):
                act = STRIKES[group]
                await act(on, planned)
        finally:
            for name in wanted:
                turns[name].release()

    async with asyncio.TaskGroup() as tasks:
        for planned in faults:
            tasks.create_task(strike(planned))


async def strike_host(on: Stage, planned: Planned) -> None:
    """A host dies, leaves or stands still, and comes back."""
    host = on.hosts[planned.target]
    if planned.kind == "stop":
        host.signal(signal.SIGSTOP)
        await asyncio.sleep(planned.seconds)
        host.signal(signal.SIGCONT)
        return
    if planned.kind == "kill":
        await host.kill()
    else:
        host.signal(signal.SIGTERM)
        await host.wait(30.0)
    await asyncio.sleep(planned.seconds)
    await on.start_hosts(planned.target)


async def strike_service(on: Stage, planned: Planned) -> None:
    """A service dies, is restarted or stands still, and serves again."""
    service = on.processes.running[planned.target]
    if planned.kind == "stop-service":
        service.signal(signal.SIGSTOP)
        await asyncio.sleep(planned.seconds)
        service.signal(signal.SIGCONT)
        return
    if planned.kind == "kill-service":
        await service.kill()
    else:
        service.signal(signal.SIGTERM)
        await service.wait(30.0)
    await asyncio.sleep(planned.seconds)
    await on.processes.start(planned.target)


async def strike_replica(on: Stage, planned: Planned) -> None:
    """One of several dies, and its supervisor starts it again; or it stands still."""
    if planned.kind == "kill-replica":
        await on.supervised.kill(planned.target)
    else:
        pid = on.supervised.pid(planned.target)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(planned.seconds)
        os.kill(pid, signal.SIGCONT)

    async def serves() -> bool:
        # Whoever was overtaken while it stood still ends, and takes the question with it.
        with suppress(ExceptionGroup):
            await on.supervised.serving(planned.target)
            return True
        return False

    await until(serves, SERVES_SECONDS_MAX, f"{planned.target} serves again")


async def strike_server(on: Stage, planned: Planned) -> None:
    """What the mesh stands on dies, and comes back with its data."""
    server = on.backends[planned.target]
    await server.kill()
    await asyncio.sleep(planned.seconds)
    await server.start()


async def strike_everything(on: Stage, planned: Planned) -> None:
    """All that there is dies, and comes back in some order."""
    await asyncio.gather(on.processes.kill(), on.kill_hosts())
    await asyncio.sleep(planned.seconds)
    starts = [on.start_hosts, on.processes.start]
    random.Random(planned.at).shuffle(starts)
    for start in starts:
        await start()


async def strike_wire(on: Stage, planned: Planned) -> None:
    """The network fails for one host, the link, or all clients."""
    name = planned.target
    proxies = on.proxies_of(name) if name in on.hosts else [on.proxies[name]]
    for proxy in proxies:
        WIRE_STRIKES[planned.kind](proxy, planned)
    await asyncio.sleep(planned.seconds)
    for proxy in proxies:
        proxy.heal()


STRIKES: Mapping[str, Callable[[Stage, Planned], Awaitable[None]]] = {
    "host": strike_host,
    "service": strike_service,
    "wire": strike_wire,
    ALL: strike_everything,
    "replica": strike_replica,
    "server": strike_server,
}
WIRE_STRIKES: Mapping[str, Callable[[Proxy, Planned], None]] = {
    "hold": lambda proxy, _: proxy.hold(),
    "hold-there": lambda proxy, _: proxy.hold(Way.THERE),
    "hold-back": lambda proxy, _: proxy.hold(Way.BACK),
    "delay": lambda proxy, planned: proxy.delay(planned.seconds / 20),
    "cut": lambda proxy, _: proxy.cut(),
    "cut-inside-there": lambda proxy, _: proxy.cut_inside(Way.THERE),
    "cut-inside-back": lambda proxy, _: proxy.cut_inside(Way.BACK),
    "close-there": lambda proxy, _: proxy.close(Way.THERE),
    "close-back": lambda proxy, _: proxy.close(Way.BACK),
    "refuse": lambda proxy, _: proxy.refuse(),
}


def row(seconds: float, name: str = NAME) -> Row:
    """The soak as a row of its own."""

    async def run(trial: Trial) -> None:
        await soak(trial, seconds, name)

    title = f"random faults for {seconds:g} s"
    needs = BACKENDS if name == FULL_NAME else ()
    return Row(name, title, run, needs=needs, seconds_max=seconds + AFTERWARDS_SECONDS_MAX)
