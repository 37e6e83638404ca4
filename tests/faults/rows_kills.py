"""Rows in which processes die."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Sequence

from muster.model.errors import MusterError
from tests.faults.clients import percentile
from tests.faults.driving import judge, under_load
from tests.faults.findings import redispatch_seconds, reruns
from tests.faults.probing import operations_of, probing
from tests.faults.stage import SUPERVISED, Setup, Stage, stage
from tests.faults.table import Row, Trial
from tests.support.history import OWNER, PART, History

CALM_SECONDS = 8.0  # of load after the last fault
DISPATCHING_SECONDS_MAX = 10.0
LISTED_SECONDS_MAX = 10.0
SERVING_SECONDS_MAX = 20.0
REDISPATCH_SECONDS_MAX = 5.0
KEPT_PERCENT_MIN = 90.0
SUPERVISED_SETUP = Setup(SUPERVISED)


async def kill_a_host(trial: Trial) -> None:
    """One host of eight dies; the others take over what it had."""
    async with stage(trial.folder) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            victim = random.Random(trial.seed).choice(on.host_names)
            trial.say(f"kill -9 {victim}")
            with on.fault("kill", victim, PART):
                killed = time.monotonic()
                await on.kill_hosts(victim)
                await asyncio.sleep(CALM_SECONDS)
                await on.start_hosts(victim)
                await on.agents_ready()
            await drive.warm()
        history = await judge(on, trial)
        waits = redispatch_seconds(history, [victim], killed)
        trial.figure("contracts that ran again", len(waits))
        trial.most("re-dispatch p99", percentile(waits), REDISPATCH_SECONDS_MAX)


async def kill_all_hosts(trial: Trial) -> None:
    """All hosts die at once, and come back after a while."""
    async with stage(trial.folder) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            trial.say("kill -9 of all hosts")
            with on.fault("kill", "all hosts"):
                await on.kill_hosts()
                await asyncio.sleep(CALM_SECONDS)
                await on.start_hosts()
                await on.agents_ready()
        await judge(on, trial)


async def kill_scheduler(trial: Trial) -> None:
    """Twice: what runs goes on, and is reported to the next life."""
    await kill_in_turn(trial, SUPERVISED_SETUP, ("scheduler", "scheduler"), OWNER)


async def kill_executor(trial: Trial) -> None:
    """Twice: hosts connect again and go on."""
    await kill_in_turn(trial, SUPERVISED_SETUP, ("executor", "executor"), OWNER)


async def kill_in_turn(trial: Trial, setup: Setup, victims: Sequence[str], effect: str) -> None:
    """Each service dies when the one before is back, and what ran goes on."""
    moments: list[float] = []
    async with stage(trial.folder, setup) as on:
        async with under_load(on, trial) as drive:
            for service in victims:
                await drive.warm()
                trial.say(f"kill -9 {service}; its supervisor starts it again")
                with on.fault("kill", service, effect):
                    moments.append(time.monotonic())
                    await on.supervised.kill(service)
                    await on.supervised.serving(service)
                    await on.agents_ready()
            await drive.warm()
        history = await judge(on, trial)
        away = [first_dispatch(history, killed) for killed in moments]
        trial.most("dispatching again after", max(away), DISPATCHING_SECONDS_MAX)
        kept = [kept_percent(history, killed) for killed in moments]
        trial.least("finished without a rerun", min(kept), KEPT_PERCENT_MIN, "%")


def first_dispatch(history: History, killed: float) -> float:
    """Seconds until a contract began that was submitted after the fault."""
    later = {a.request_id for a in history.submissions if a.at > killed}
    fresh = {a.contract_id for a in history.acknowledgements if a.request_id in later}
    return min(e.at for e in history.executions if e.contract_id in fresh) - killed


def kept_percent(history: History, killed: float) -> float:
    """How much of what ran at that time was executed once only."""
    done = {(each.contract_id, each.epoch) for each in history.reported if each.at < killed}
    running = [
        each.contract_id
        for each in history.executions
        if each.at < killed and (each.contract_id, each.epoch) not in done
    ]
    runs: dict[str, int] = dict.fromkeys(running, 0)
    for each in history.executions:
        if each.contract_id in runs:
            runs[each.contract_id] += 1
    return 100 * sum(count == 1 for count in runs.values()) / len(runs) if runs else 100.0


async def kill_registry(
    trial: Trial, setup: Setup = SUPERVISED_SETUP, victim: str = "registry"
) -> None:
    """Nothing that it does is on a contract's path."""
    async with stage(trial.folder, setup) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            trial.say(f"kill -9 {victim}; its supervisor starts it again")
            with on.fault("kill", victim, PART):
                killed = time.monotonic()
                await on.supervised.kill(victim)
                await all_listed(on)
                listed = time.monotonic() - killed
            await drive.warm()
        history = await judge(on, trial)
        trial.most("everything listed again after", listed, LISTED_SECONDS_MAX)
        trial.exactly("contracts that ran again", reruns(history), 0)


async def all_listed(on: Stage) -> None:
    """Returns when the registry names every agent of the fleet."""
    wanted = on.setup.hosts * on.setup.agents
    async with asyncio.timeout(SERVING_SECONDS_MAX):
        while True:
            try:
                if len([agent async for agent in on.clients.client.agents()]) >= wanted:
                    return
            except MusterError:
                continue  # it is away; the SDK has paused between its own tries


async def kill_everything(trial: Trial, setup: Setup = SUPERVISED_SETUP) -> None:
    """Supervisor, services, hosts and servers die in one blow. Servers are back first, then all
    else in an order by seed, which is what counts."""
    async with stage(trial.folder, setup) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            trial.say("kill -9 of everything")
            with on.fault("kill", "everything", OWNER):
                servers = [each.kill() for each in on.backends.values()]
                await asyncio.gather(on.kill_hosts(), on.supervised.kill_everything(), *servers)
                for backend in on.backends.values():
                    await backend.start()
                began = time.monotonic()
                starts = [on.start_hosts, on.mesh.start]
                random.Random(trial.seed).shuffle(starts)
                for start in starts:
                    await start()
                await on.agents_ready()
            back = time.monotonic() - began
            await drive.warm()
        await judge(on, trial)
        trial.most("serving, with all agents, after", back, SERVING_SECONDS_MAX)


async def rolling_restart(trial: Trial) -> None:
    """SIGTERM to each service, one after the other, and start again."""
    async with stage(trial.folder, Setup("separate")) as on:
        asked = probing(*operations_of(on.clients.client))
        async with under_load(on, trial) as drive, asked as operations:
            await drive.warm()
            for service in on.mesh.services:
                trial.say(f"SIGTERM {service}")
                with on.fault("restart", service, OWNER):
                    process = on.processes.running[service]
                    process.signal(signal.SIGTERM)
                    code = await process.wait()
                    await on.processes.start(service)
                    await on.agents_ready()
                trial.exactly(f"exit code of the {service}", code, 0)
            await drive.warm()
        history = await judge(on, trial)
        trial.exactly("contracts that ran again", reruns(history), 0)
        trial.figure("SDK operations beside the load", len(operations.spans))
        lost = [each.status for each in history.unknowns if each.status != "DEADLINE_PASSED"]
        lost += [each.reason for each in history.refusals if each.reason != "DEADLINE_PASSED"]
        trial.exactly("failed operations and submits", len(operations.failures) + len(lost), 0)
        trial.notes += operations.failures + lost


ROWS = (
    Row("kill-host", "kill -9 one agent host", kill_a_host),
    Row("kill-hosts", "kill -9 all agent hosts", kill_all_hosts),
    Row("kill-scheduler", "kill -9 scheduler, twice", kill_scheduler),
    Row("kill-executor", "kill -9 executor, twice", kill_executor),
    Row("kill-registry", "kill -9 registry", kill_registry),
    Row("kill-everything", "kill -9 everything, restart in any order", kill_everything),
    Row("rolling-restart", "SIGTERM rolling restart", rolling_restart),
)
