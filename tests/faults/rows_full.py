"""Rows on the full profile: two of every service, on PostgreSQL, NATS and Consul."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from muster.wire.channel import open_channel
from tests.faults import rows_kills
from tests.faults.driving import judge, under_load
from tests.faults.stage import BACKENDS, FULL, Setup, stage
from tests.faults.table import Row, Trial
from tests.support.history import OWNER, PART
from tests.support.processes import until

FULL_SETUP = Setup(FULL)
DATABASE_AWAY_SECONDS = 30.0
HINTS_AWAY_SECONDS = 60.0
NOTICED_SECONDS_MAX = 3.0
BACK_SECONDS_MAX = 10.0


async def kill_scheduler(trial: Trial) -> None:
    """Each of the two in turn: the other takes over what it owned."""
    await rows_kills.kill_in_turn(trial, FULL_SETUP, ("scheduler-1", "scheduler-2"), OWNER)


async def kill_executor(trial: Trial) -> None:
    """Each of the two in turn: its hosts go to the other."""
    await rows_kills.kill_in_turn(trial, FULL_SETUP, ("executor-1", "executor-2"), OWNER)


async def kill_registry(trial: Trial) -> None:
    """One of two."""
    await rows_kills.kill_registry(trial, FULL_SETUP, "registry-1")


async def kill_everything(trial: Trial) -> None:
    """The servers too."""
    await rows_kills.kill_everything(trial, FULL_SETUP)


async def database_away(trial: Trial) -> None:
    """PostgreSQL dies and is away for a while: nothing is taken, nothing is lost."""
    async with stage(trial.folder, FULL_SETUP) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            trial.say("kill -9 PostgreSQL")
            with on.fault("kill", "postgres", OWNER):
                killed = time.monotonic()
                await on.backends["postgres"].kill()
                noticed = await _until_not_serving(on.supervised.address("scheduler-1"), killed)
                await asyncio.sleep(DATABASE_AWAY_SECONDS - (time.monotonic() - killed))
                await on.backends["postgres"].start()
                began = time.monotonic()
                await on.supervised.serving("scheduler-1", "scheduler-2")
                back = time.monotonic() - began
                await on.agents_ready()
            await asyncio.sleep(rows_kills.CALM_SECONDS)
        await judge(on, trial)
        trial.most("NOT_SERVING after", noticed, NOTICED_SECONDS_MAX)
        trial.most("serving, from its return", back, BACK_SECONDS_MAX)


async def _until_not_serving(target: str, since: float) -> float:
    """How long it took until a service said that it cannot work."""
    async with open_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        async def says_so() -> bool:
            reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
            return bool(reply.status != health_pb2.HealthCheckResponse.SERVING)

        await until(says_so, DATABASE_AWAY_SECONDS, "it says that it cannot work")
    return time.monotonic() - since


async def hints_away(trial: Trial) -> None:
    """Consul and NATS are away for a minute, and come back empty: the work does not notice."""
    async with stage(trial.folder, FULL_SETUP) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            for name in ("consul", "nats"):
                trial.say(f"kill -9 {name}; its data is lost")
                with on.fault("kill", name, PART):
                    await on.backends[name].kill()
            await asyncio.sleep(HINTS_AWAY_SECONDS)
            for name in ("consul", "nats"):
                for path in on.backends[name].server.folder.glob("data*"):
                    shutil.rmtree(path)
                await on.backends[name].start()
            await drive.warm()
        await judge(on, trial, faultless=True)


async def kill_anything(trial: Trial) -> None:
    """Every process of the mesh and of what it stands on, one after the other, by seed."""
    async with stage(trial.folder, FULL_SETUP) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            victims = [*on.mesh.services, *BACKENDS]
            random.Random(trial.seed).shuffle(victims)
            for victim in victims:
                trial.say(f"kill -9 {victim}")
                with on.fault("kill", victim, OWNER):
                    if victim in on.backends:
                        await on.backends[victim].kill()
                        await on.backends[victim].start()
                    else:
                        await on.supervised.kill(victim)
                        await on.supervised.serving(victim)
                    await on.agents_ready()
                await drive.warm(3.0)
        await judge(on, trial)


ROWS = tuple(
    Row(f"full-{name}", text, run, needs=("postgres", "nats", "consul"), seconds_max=240.0)
    for name, text, run in (
        ("scheduler", "kill -9 each of two schedulers", kill_scheduler),
        ("executor", "kill -9 each of two executors", kill_executor),
        ("registry", "kill -9 one of two registries", kill_registry),
        ("everything", "kill -9 everything, servers too", kill_everything),
        ("database", "PostgreSQL killed, away for 30 s", database_away),
        ("hints", "Consul and NATS away for 60 s, back empty", hints_away),
        ("anything", "kill -9 every process in turn, by seed", kill_anything),
    )
)
