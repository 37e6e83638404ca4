"""Rows in which processes stand still, or the clock jumps."""

from __future__ import annotations

import asyncio
import random
import signal
import time

from tests.faults.clients import percentile
from tests.faults.driving import judge, under_load
from tests.faults.findings import redispatch_seconds, reruns
from tests.faults.injectors import WallClock
from tests.faults.stage import Setup, Stage, stage
from tests.faults.table import Row, Trial
from tests.support.history import CLOCK, OWNER, PART, History
from tests.support.processes import until

HOST_SECONDS = 30.0  # three leases
SERVICE_SECONDS = 5.0  # half a lease
REDISPATCH_SECONDS_MAX = 12.0
HOUR_SECONDS = 3600
ACCEPTED_SECONDS = 30.0
CLOCK_SECONDS = 5.0  # that a Submit may take, when the mesh's clock is asked for


async def freeze_host(trial: Trial) -> None:
    """A host stands still for three leases, and then goes on as if nothing had been."""
    async with stage(trial.folder) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            victim = random.Random(trial.seed).choice(on.host_names)
            trial.say(f"SIGSTOP {victim}")
            with on.fault("stop", victim, PART):
                on.hosts[victim].signal(signal.SIGSTOP)
                stopped = time.monotonic()
                await asyncio.sleep(HOST_SECONDS)
                on.hosts[victim].signal(signal.SIGCONT)
                await on.agents_ready()
            await drive.warm()
        history = await judge(on, trial)
        waits = redispatch_seconds(history, [victim], stopped)
        trial.figure("contracts that ran again", len(waits))
        trial.most("re-dispatch", percentile(waits, 1.0), REDISPATCH_SECONDS_MAX)
        late, accepted = zombies(history, victim, stopped, stopped + HOST_SECONDS)
        trial.figure("attempts that went on too late", late)
        trial.exactly("of them accepted", accepted, 0)


def zombies(history: History, host: str, stopped: float, went_on: float) -> tuple[int, int]:
    """How many attempts that a host held while it stood still had been given to others, and how
    many of their reports were accepted after that."""
    epochs: dict[str, int] = {}
    for shown in history.shown:
        epochs[shown.contract_id] = max((each.epoch for each in shown.attempts), default=0)
    done = {(each.contract_id, each.epoch) for each in history.reported if each.at < stopped}
    stale = {
        (each.contract_id, each.epoch)
        for each in history.executions
        if each.host == host and each.at < stopped
        if each.epoch < epochs.get(each.contract_id, 0)
    } - done
    accepted = [
        each
        for each in history.verdicts
        if (each.contract_id, each.epoch) in stale and each.at > went_on
        if each.verdict.startswith("ACCEPTED")
    ]
    return len(stale), len(accepted)


async def freeze_services(trial: Trial) -> None:
    """Each service stands still for half a lease, then all of them together."""
    async with stage(trial.folder, Setup("separate")) as on:
        services = on.mesh.services
        async with under_load(on, trial) as drive:
            await drive.warm()
            for victims in (*((service,) for service in services), services):
                trial.say(f"SIGSTOP {', '.join(victims)}")
                processes = [on.processes.running[service] for service in victims]
                with on.fault("stop", " ".join(victims), OWNER):
                    for process in processes:
                        process.signal(signal.SIGSTOP)
                    await asyncio.sleep(SERVICE_SECONDS)
                    for process in processes:
                        process.signal(signal.SIGCONT)
                await asyncio.sleep(SERVICE_SECONDS / 2)
            await drive.warm()
        history = await judge(on, trial)
        trial.exactly("contracts that ran again", reruns(history), 0)


async def jump_clock(trial: Trial) -> None:
    """The wall clock of mesh and hosts goes an hour forward, two back, and one forward again."""
    clock = WallClock(trial.folder)
    async with stage(trial.folder, Setup(everywhere=clock.environment())) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            with on.fault("clock", "", CLOCK):
                for shift in (HOUR_SECONDS, -HOUR_SECONDS, 0):
                    trial.say(f"the wall clock is {shift:+d} s off")
                    clock.shift(shift)
                    await drive.warm()
                    off = abs(await shift_of_mesh(on) - shift)
                    trial.most(f"the mesh's clock is {shift:+d} s off, but for", off, CLOCK_SECONDS)
            await drive.warm()
        history = await judge(on, trial)
        trial.exactly("contracts that ran again", reruns(history), 0)


async def shift_of_mesh(on: Stage) -> float:
    """By how many seconds the mesh's clock is off, as a contract that it accepts says."""
    truth = 0.0

    async def accepted() -> bool:
        nonlocal truth
        truth = time.time()
        return not await on.clients.submit_once(f"clock-{time.monotonic()}")

    await until(accepted, ACCEPTED_SECONDS, "a contract is accepted")
    contract = await on.clients.client.get(next(reversed(on.clients.acknowledged)))
    return contract.accept_time.ToNanoseconds() / 1e9 - truth


ROWS = (
    Row("freeze-host", "SIGSTOP an agent host for 30 s, then SIGCONT", freeze_host),
    Row("freeze-services", "SIGSTOP each service for 5 s, then all of them", freeze_services),
    Row("clock", "wall clock ±1 h", jump_clock, needs=("cc",)),
)
