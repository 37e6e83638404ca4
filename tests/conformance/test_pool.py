"""What every backend of `Pool` does."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from muster.backends.pool_base import HostState, HostStatus, Pool, PoolError
from muster.backends.pool_ray.pool import RayPool
from muster.backends.pool_subprocess.pool import SubprocessPool
from muster.model.fleet import AgentGroup, HostJob, Kind
from muster.supervisor.identity import Identity, identify
from tests.support.processes import ROOT, until

SECONDS = 30.0  # for anything that a process does; Ray takes ten times as long as the other


class Heard:
    """What a pool has said about its hosts."""

    def __init__(self) -> None:
        self.all: list[HostStatus] = []

    def states(self, name: str) -> list[HostState]:
        return [each.state for each in self.all if each.name == name]

    async def state(self, name: str, state: HostState, times: int = 1) -> HostStatus:
        """Waits until a host has been in a state so often; its status then."""

        def found() -> list[HostStatus]:
            return [each for each in self.all if each.name == name and each.state is state]

        await until(lambda: len(found()) >= times, SECONDS, f"{name} is {state.value}")
        return found()[times - 1]


def job_of(name: str) -> HostJob:
    return HostJob(name, (AgentGroup(Kind("kind", 3, ("a:b",)), 1, 2),))


@pytest.fixture
def heard() -> Heard:
    return Heard()


# What each says of a host whose process was killed. Only the parent of a process sees the signal.
KILLED = {
    SubprocessPool: "was ended by SIGKILL",
    RayPool: "was lost: its process or its node died",
}


@pytest.fixture(
    params=[
        "subprocess",
        # Ray takes its time, and only one worker is to have it.
        pytest.param("ray", marks=[pytest.mark.xdist_group("ray"), pytest.mark.timeout(180)]),
    ]
)
def unopened(request: pytest.FixtureRequest, tmp_path: Path, heard: Heard) -> Pool:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MUSTER_TEST_FOLDER": str(tmp_path),
    }
    if request.param == "ray":
        return RayPool(
            {**environment, **request.getfixturevalue("ray_cluster").environment},
            tmp_path / "logs",
            heard.all.append,
            module="tests.support.scripted_host",
            pause_seconds_max=0.01,
            stop_seconds=SECONDS,
        )
    return SubprocessPool(
        environment,
        tmp_path / "logs",
        heard.all.append,
        module="tests.support.scripted_host",
        pause=lambda deaths: 0.01,
        stop_seconds=SECONDS,
    )


@pytest.fixture
async def pool(unopened: AbstractAsyncContextManager[Pool]) -> AsyncIterator[Pool]:
    async with unopened as pool:
        yield pool


async def running(folder: Path, name: str) -> dict[str, Any]:
    """Waits until a host runs; what it knows of itself."""
    file = folder / name
    await until(file.exists, SECONDS, f"{name} runs")
    known: dict[str, Any] = json.loads(file.read_text())
    return known


def identity_of(pid: int) -> Identity:
    found = identify(pid)
    assert found is not None
    return found


async def test_a_host_runs_with_its_job_until_it_is_stopped(
    pool: Pool, heard: Heard, tmp_path: Path
) -> None:
    await pool.start(job_of("plain"))
    known = await running(tmp_path, "plain")
    assert known["agents"] == ["kind-1", "kind-3"]
    (status,) = pool.status()
    assert (status.name, status.state, status.starts) == ("plain", HostState.RUNNING, 1)
    process = identity_of(known["pid"])
    await pool.stop("plain", SECONDS)
    assert not process.is_running
    assert heard.states("plain") == [HostState.RUNNING, HostState.STOPPING, HostState.STOPPED]


async def test_stopping_twice_or_what_never_was_does_nothing(pool: Pool, tmp_path: Path) -> None:
    await pool.stop("nobody", SECONDS)
    await pool.start(job_of("plain"))
    await running(tmp_path, "plain")
    await asyncio.gather(pool.stop("plain", SECONDS), pool.stop("plain", SECONDS))
    await pool.stop("plain", SECONDS)
    assert [status.state for status in pool.status()] == [HostState.STOPPED]


async def test_two_hosts_of_one_name_are_refused_but_a_stopped_one_can_start_again(
    pool: Pool, tmp_path: Path
) -> None:
    await pool.start(job_of("plain"))
    with pytest.raises(PoolError, match="there is a host plain already"):
        await pool.start(job_of("plain"))
    await running(tmp_path, "plain")
    await pool.stop("plain", SECONDS)
    await pool.start(job_of("plain"))
    assert [status.state for status in pool.status()] != [HostState.STOPPED]


async def test_a_host_that_is_killed_is_replaced_when_nothing_of_it_is_left(
    pool: Pool, heard: Heard, tmp_path: Path
) -> None:
    await pool.start(job_of("parent"))
    known = await running(tmp_path, "parent")
    child = identity_of(known["child"])
    (tmp_path / "parent").unlink()
    os.kill(known["pid"], signal.SIGKILL)
    waiting = await heard.state("parent", HostState.WAITING)
    assert waiting.detail == KILLED[type(pool)]
    assert not child.is_running
    again = await running(tmp_path, "parent")
    assert again["pid"] != known["pid"]
    (status,) = pool.status()
    assert (status.state, status.starts) == (HostState.RUNNING, 2)


async def test_a_host_that_keeps_dying_is_tried_again_and_again(pool: Pool, heard: Heard) -> None:
    await pool.start(job_of("dying"))
    third = await heard.state("dying", HostState.WAITING, times=3)
    assert (third.starts, third.detail) == (3, "ended with code 1")
    await pool.stop("dying", SECONDS)
    assert heard.states("dying")[-1] is HostState.STOPPED


async def test_a_host_that_can_never_run_is_not_tried_again(pool: Pool, heard: Heard) -> None:
    await pool.start(job_of("refusing"))
    await heard.state("refusing", HostState.REFUSED)
    assert pool.last_lines("refusing") == ["muster: it can never run like this"]
    await pool.stop("refusing", SECONDS)
    assert heard.states("refusing") == [HostState.RUNNING, HostState.REFUSED]


async def test_a_host_that_does_not_end_in_time_is_killed_and_that_is_said(
    pool: Pool, heard: Heard, tmp_path: Path
) -> None:
    await pool.start(job_of("stubborn"))
    process = identity_of((await running(tmp_path, "stubborn"))["pid"])
    await pool.stop("stubborn", 0.05)
    assert not process.is_running
    killed = await heard.state("stubborn", HostState.STOPPING, times=2)
    assert "killed" in killed.detail


async def test_who_is_in_a_hurry_waits_for_no_grace(
    pool: Pool, heard: Heard, tmp_path: Path
) -> None:
    await pool.start(job_of("stubborn"))
    process = identity_of((await running(tmp_path, "stubborn"))["pid"])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.stop("stubborn", 1_000.0))
        await heard.state("stubborn", HostState.STOPPING)
        pool.hurry()
    assert not process.is_running


async def test_leaving_the_pool_stops_every_host(
    unopened: AbstractAsyncContextManager[Pool], tmp_path: Path
) -> None:
    async with unopened as pool:
        names = ["plain-1", "plain-2", "parent"]
        for name in names:
            await pool.start(job_of(name))
        known = [await running(tmp_path, name) for name in names]
        pids = [each[key] for each in known for key in ("pid", "child") if each[key]]
        processes = [identity_of(pid) for pid in pids]
    assert len(processes) == 4
    assert not any(process.is_running for process in processes)


async def test_an_error_of_the_owner_comes_out_once_every_host_is_stopped(
    unopened: AbstractAsyncContextManager[Pool], tmp_path: Path
) -> None:
    processes = []

    async def fail() -> None:
        async with unopened as pool:
            await pool.start(job_of("plain"))
            processes.append(identity_of((await running(tmp_path, "plain"))["pid"]))
            message = "mine"
            raise KeyError(message)

    with pytest.raises(KeyError, match="mine"):
        await fail()
    (process,) = processes
    assert not process.is_running
