"""Rows in which processes die under workflow runs: no step reruns, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, ENGINE_KIND_TEMPORAL
from tests.faults.flow_driving import AGENTS, HOSTS, PROGRAM, WINDOW, Strike, flows_on, plan
from tests.faults.stage import FULL, SUPERVISED, TEMPORAL, Setup, Stage
from tests.faults.table import Row, Trial
from tests.support.history import OWNER, PART

RUNS = 20
ROW_SECONDS_MAX = 600.0
TEMPORAL_WORKERS = 2
ONE_HOST, HOSTS_ALL, MESH, EVERYTHING = "a host", "all hosts", "the mesh", "everything"


def setup_of(shape: str, temporal_workers: int = 0) -> Setup:
    """What runs of workflows need."""
    return Setup(
        shape,
        hosts=HOSTS,
        agents=AGENTS,
        window=WINDOW,
        program=PROGRAM,
        temporal_workers=temporal_workers,
    )


# --- who dies -------------------------------------------------------------------------------------


async def strike_host(on: Stage) -> None:
    """One of two."""
    await on.kill_hosts("host-0")
    await on.start_hosts("host-0")


async def strike_hosts(on: Stage) -> None:
    """All, at once."""
    await on.kill_hosts()
    await on.start_hosts()


async def strike_mesh(on: Stage) -> None:
    """Every service, which are one process."""
    await on.mesh.kill(*on.mesh.services)
    await on.mesh.start()


async def strike_everything(on: Stage) -> None:
    """Services and hosts in one blow; the hosts are back first."""
    await asyncio.gather(on.kill_hosts(), on.mesh.kill(*on.mesh.services))
    await on.start_hosts()
    await on.mesh.start()


async def strike_all_supervised(on: Stage) -> None:
    """Supervisor, services and hosts."""
    await asyncio.gather(on.kill_hosts(), on.supervised.kill_everything())
    await on.start_hosts()
    await on.mesh.start()


def strike_service(name: str) -> Strike:
    """A service, which its supervisor starts again."""

    async def strike(on: Stage) -> None:
        await on.supervised.kill(name)
        await on.supervised.serving(name)

    return strike


async def strike_worker(on: Stage) -> None:
    """One of two of the engine's workers: the other goes on."""
    await on.kill_workers("engine-0")
    await on.start_workers("engine-0")


async def strike_workers(on: Stage) -> None:
    """All of them."""
    await on.kill_workers()
    await on.start_workers()


async def strike_temporal(on: Stage) -> None:
    """Temporal's server, which keeps its data."""
    await on.backends[TEMPORAL].kill()
    await on.backends[TEMPORAL].start()


async def strike_all_with_temporal(on: Stage) -> None:
    """Services, hosts, Temporal and the engine's workers in one blow."""
    kills = (on.kill_hosts(), on.mesh.kill(*on.mesh.services), on.kill_workers())
    await asyncio.gather(*kills, on.backends[TEMPORAL].kill())
    await on.start_hosts()
    await asyncio.gather(on.backends[TEMPORAL].start(), on.mesh.start())
    await on.start_workers()


IN_ONE: Mapping[str, Strike] = {
    MESH: strike_mesh,
    ONE_HOST: strike_host,
    HOSTS_ALL: strike_hosts,
    EVERYTHING: strike_everything,
}
SEPARATE: Mapping[str, Strike] = {
    "scheduler": strike_service("scheduler"),
    "executor": strike_service("executor"),
    ONE_HOST: strike_host,
    HOSTS_ALL: strike_hosts,
    EVERYTHING: strike_all_supervised,
}
REPLICATED: Mapping[str, Strike] = {
    "scheduler-1": strike_service("scheduler-1"),
    "scheduler-2": strike_service("scheduler-2"),
    ONE_HOST: strike_host,
}
WITH_TEMPORAL: Mapping[str, Strike] = {
    MESH: strike_mesh,
    ONE_HOST: strike_host,
    HOSTS_ALL: strike_hosts,
    "an engine worker": strike_worker,
    "all engine workers": strike_workers,
    "Temporal": strike_temporal,
    EVERYTHING: strike_all_with_temporal,
}
OFF_THE_PATH = frozenset({ONE_HOST, "an engine worker"})  # of which there is another


# --- rows -----------------------------------------------------------------------------------------


async def kills(
    trial: Trial, setup: Setup, strikes: Mapping[str, Strike], engine: int, runs: int = RUNS
) -> None:
    """So many runs, in the middle of each of which something dies."""
    async with flows_on(trial.folder, setup, engine) as flows:
        for kind, took in flows.took.items():
            trial.say(f"{kind} takes {took:.1f} s")
        for planned in plan(trial.seed, runs, list(flows.kinds), list(strikes)):
            trial.say(str(planned))
            effect = PART if planned.victim in OFF_THE_PATH else OWNER
            await flows.disturbed(planned, strikes[planned.victim], effect)
        await flows.judge(trial)


async def local_in_one(trial: Trial) -> None:
    """The local engine, all services in one process."""
    await kills(trial, setup_of("all-in-one"), IN_ONE, ENGINE_KIND_LOCAL)


async def local_separate(trial: Trial) -> None:
    """The local engine, services of their own, as `muster up --separate` runs them."""
    await kills(trial, setup_of(SUPERVISED), SEPARATE, ENGINE_KIND_LOCAL)


async def temporal_in_one(trial: Trial) -> None:
    """The engine on Temporal, with two workers; all services in one process."""
    setup = setup_of("all-in-one", TEMPORAL_WORKERS)
    await kills(trial, setup, WITH_TEMPORAL, ENGINE_KIND_TEMPORAL)


async def temporal_full(trial: Trial) -> None:
    """The engine on Temporal, two of every service on PostgreSQL."""
    setup = setup_of(FULL, TEMPORAL_WORKERS)
    strikes = {**REPLICATED, "an engine worker": strike_worker, "Temporal": strike_temporal}
    await kills(trial, setup, strikes, ENGINE_KIND_TEMPORAL)


async def local_full(trial: Trial) -> None:
    """The local engine, two of every service on PostgreSQL."""
    await kills(trial, setup_of(FULL), REPLICATED, ENGINE_KIND_LOCAL)


ROWS = (
    Row(
        "flows-mesh",
        "kill -9 mesh, hosts or both under 20 workflow runs",
        local_in_one,
        seconds_max=ROW_SECONDS_MAX,
    ),
    Row(
        "flows-separate",
        "kill -9 any service or host under 20 workflow runs",
        local_separate,
        seconds_max=ROW_SECONDS_MAX,
    ),
    Row(
        "flows-temporal",
        "kill -9 mesh, hosts, engine workers, Temporal or all under 20 runs on Temporal",
        temporal_in_one,
        needs=("temporal",),
        seconds_max=ROW_SECONDS_MAX,
    ),
)
FULL_ROWS = (
    Row(
        "full-flows",
        "kill -9 one of two schedulers, or a host, under 20 workflow runs",
        local_full,
        needs=("postgres", "nats", "consul"),
        seconds_max=ROW_SECONDS_MAX,
    ),
    Row(
        "full-flows-temporal",
        "kill -9 a scheduler, host, engine worker, or Temporal under 20 runs on Temporal",
        temporal_full,
        needs=("postgres", "nats", "consul", "temporal"),
        seconds_max=ROW_SECONDS_MAX,
    ),
)
