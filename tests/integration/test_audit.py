"""The audit on a real mesh: processes, workers, blobs. Findings depend on the sources alone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from muster.agent import Client, connect
from muster.audit import job
from muster.audit.canonical import canonical_json
from muster.audit.collect import collect
from muster.audit.local import audit as audit_locally
from muster.audit.shapes import Collection
from muster.model.fleet import Fleet
from muster.runtime.fleet import parse_fleet
from muster.supervisor.mesh import Mesh
from muster.supervisor.plan import Plan
from muster.supervisor.pools import POOLS
from tests.support.ray_cluster import require_ray

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("processes")]

KINDS = ("research", "processing", "analysis", "monitoring", "coordination")


def fleet_of(*kinds: str) -> Fleet:
    """Three hosts with a few agents of each kind."""
    lines = ["name: test", "hosts: 3", "kinds:"]
    for kind in kinds:
        lines += [
            f"  {kind}:",
            "    count: 6",
            f"    capabilities: muster.audit.agents:{kind}",
        ]
    return parse_fleet("\n".join(lines), "test.yaml", Path("test.yaml").resolve())


@asynccontextmanager
async def mesh_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *kinds: str, pool: str = "subprocess"
) -> AsyncIterator[tuple[Mesh, Client]]:
    """A mesh of processes with these kinds of agents."""
    plan = Plan(data_dir=tmp_path / "data", port=0, http=False, pool=pool)
    async with Mesh(plan, fleet_of(*kinds)) as mesh:
        for name, value in mesh.endpoints.environment.items():
            monkeypatch.setenv(name, value)
        async with connect() as client:
            yield mesh, client


@pytest.fixture
def sources() -> Collection:
    """Real code: this project's own services."""
    return collect(Path(__file__).parents[2] / "services" / "shared" / "muster")


@pytest.mark.parametrize("pool", POOLS)
async def test_a_host_killed_in_the_middle_leaves_the_findings_byte_identical(
    sources: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    if pool == "ray":
        require_ray()
    async with mesh_of(tmp_path, monkeypatch, *KINDS, pool=pool) as (mesh, client):
        killed: list[int] = []

        def kill_one(progress: dict[str, job.KindProgress]) -> None:
            if not killed and progress["processing"].accepted >= 2:
                pid = mesh.hosts[0].pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

        outcome = await job.audit(client, sources, kill_one)
        assert killed, "no host was ever killed, so nothing was shown"
        statistics = outcome.statistics
    assert canonical_json(outcome.findings) == canonical_json(audit_locally(sources))
    assert statistics is not None
    assert statistics["contracts"] >= 4
    assert set(statistics["states"]) == {"SUCCEEDED"}


async def test_a_kind_of_agent_that_is_missing_changes_the_report_and_does_not_stop_it(
    sources: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = [kind for kind in KINDS if kind not in ("analysis", "monitoring")]
    async with mesh_of(tmp_path, monkeypatch, *without) as (_, client):
        outcome = await job.audit(client, sources, lambda progress: None)
    assert outcome.findings["missing"] == ["analysis"]
    assert outcome.findings["totals"]["lines"] is not None
    assert outcome.statistics is None


async def test_an_interrupted_audit_cancels_its_run_with_everything_below_it(
    sources: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mesh_of(tmp_path, monkeypatch, *KINDS) as (_, client):
        under_way = asyncio.Event()

        def tell(progress: dict[str, job.KindProgress]) -> None:
            if progress["processing"].accepted:
                under_way.set()

        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(job.audit(client, sources, tell))
            await under_way.wait()
            running.cancel()
        states = {
            contract.state
            async for contract in client.list(states=["QUEUED", "LEASED", "RUNNING"])
            if contract.request.capability.name != "audit.watch"
        }
    assert not states
