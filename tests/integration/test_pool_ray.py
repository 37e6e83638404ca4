"""What only the pool on Ray has: a driver that can die, nodes that can go, a cluster that can be
absent."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from muster.backends.pool_base import HostState, HostStatus, PoolError
from muster.backends.pool_ray.pool import RayPool
from muster.model.fleet import AgentGroup, HostJob, Kind
from muster.supervisor import pools
from muster.supervisor.identity import Identity, identify
from tests.support.processes import ROOT, free_port, until
from tests.support.ray_cluster import HEAD_CPUS, Cluster

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("ray")]

SECONDS = 90.0  # until Ray takes a node for dead: about 20 s


class Watched:
    """A pool on a cluster, and what it has said about its hosts."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        module: str = "tests.support.scripted_host",
    ) -> None:
        self.folder = folder
        self.heard: list[HostStatus] = []
        self.pool = RayPool(
            {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "MUSTER_TEST_FOLDER": str(folder),
                **environment,
            },
            folder / "logs",
            self.heard.append,
            module=module,
            pause_seconds_max=0.1,
            stop_seconds=10.0,
        )

    async def start(self, name: str) -> None:
        await self.pool.start(HostJob(name, (AgentGroup(Kind("kind", 3, ("a:b",)), 1, 2),)))

    async def running(self, name: str) -> dict[str, Any]:
        """Waits until a host runs; what it knows of itself, which is forgotten then."""
        file = self.folder / name
        await until(file.exists, SECONDS, f"{name} runs")
        known: dict[str, Any] = json.loads(file.read_text())
        file.unlink()
        return known

    async def said(self, state: HostState) -> HostStatus:
        """Waits until this was said of any host."""
        await until(lambda: any(h.state is state for h in self.heard), SECONDS, state.value)
        return next(h for h in self.heard if h.state is state)


@pytest.fixture
async def watched(tmp_path: Path, ray_cluster: Cluster) -> AsyncIterator[Watched]:
    made = Watched(tmp_path, ray_cluster.environment)
    async with made.pool:
        yield made


def identity_of(pid: int) -> Identity:
    found = identify(pid)
    assert found is not None
    return found


async def test_when_the_driver_is_killed_its_hosts_go_and_come_back(watched: Watched) -> None:
    await watched.start("parent")
    known = await watched.running("parent")
    host, child = identity_of(known["pid"]), identity_of(known["child"])
    for process in psutil.Process().children():
        if "muster.backends.pool_ray.driver" in process.cmdline():
            process.kill()
    lost = await watched.said(HostState.WAITING)
    assert lost.detail == "was lost: Ray was ended by SIGKILL"
    again = await watched.running("parent")
    assert not host.is_running
    assert not child.is_running
    assert again["pid"] != known["pid"]
    await until(lambda: watched.pool.status()[0].starts == 2, SECONDS, "it counts as a start")


async def test_a_host_of_another_node_is_swept_there_and_moves_when_the_node_is_gone(
    tmp_path: Path, ray_cluster: Cluster
) -> None:
    node = ray_cluster.start_node()
    # More than the head has, so the host has to be there.
    watched = Watched(tmp_path, {**ray_cluster.environment, "MUSTER_RAY_CPUS": str(HEAD_CPUS + 1)})
    async with watched.pool:
        await watched.start("parent")
        known = await watched.running("parent")
        (status,) = watched.pool.status()
        assert status.pid is None
        assert re.fullmatch(rf"node [\d.]+, pid {known['pid']}", status.place)
        child = identity_of(known["child"])
        os.kill(known["pid"], signal.SIGKILL)
        assert (await watched.said(HostState.WAITING)).detail.startswith("was lost: ")
        assert not child.is_running
        second = await watched.running("parent")
        watched.heard.clear()
        node.kill()
        await watched.said(HostState.WAITING)
        assert not identify(second["pid"])
        other = ray_cluster.start_node()
        try:
            third = await watched.running("parent")
            assert third["pid"] != second["pid"]
        finally:
            await watched.pool.stop("parent", 5.0)
            other.kill()


async def test_a_cluster_that_is_not_there_is_named_and_not_waited_for(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    watched = Watched(tmp_path, {"MUSTER_RAY_ADDRESS": address})
    async with watched.pool:
        await watched.start("plain")
        await watched.said(HostState.REFUSED)
        (words,) = watched.pool.last_lines("plain")
        assert words.startswith(f"muster: Ray cannot be used: nobody answers at {address}")
        # Nor is anything else tried that comes later.
        await watched.start("late")
        assert watched.pool.status()[1].state is HostState.REFUSED


async def test_code_that_is_not_where_the_actors_are_is_named(
    tmp_path: Path, ray_cluster: Cluster
) -> None:
    watched = Watched(tmp_path, ray_cluster.environment, module="not.installed.there")
    async with watched.pool:
        await watched.start("plain")
        # On a busy machine Ray may give an actor up before it has begun; the pool says so, and
        # makes another, which is the one that is meant.
        said = "failed: ModuleNotFoundError: No module named 'not'"
        await until(lambda: any(h.detail == said for h in watched.heard), SECONDS, said)


async def test_how_much_a_host_reserves_must_be_a_number(tmp_path: Path) -> None:
    watched = Watched(tmp_path, {"MUSTER_RAY_CPUS": "many"})
    with pytest.raises(PoolError, match="MUSTER_RAY_CPUS must be a number"):
        async with watched.pool:
            pass


def test_without_ray_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PoolError, match=r"pip install 'muster-mesh\[ray\]'"):
        pools.check_pool("ray")
    pools.check_pool("subprocess")
    with pytest.raises(PoolError, match="there is no pool 'slurm'; there is subprocess and ray"):
        pools.check_pool("slurm")
