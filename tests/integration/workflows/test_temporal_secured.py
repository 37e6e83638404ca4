"""The engine's workers where Temporal speaks TLS, wants a certificate, and wants an API key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from muster.engine.__main__ import build
from muster.runtime.config import ConfigError, Role, default_config
from muster.runtime.health import LIVE
from muster.servers.server import ServerProcess
from muster.v1.workflow_run_pb2 import ENGINE_KIND_TEMPORAL, RUN_STATE_SUCCEEDED
from muster.wire.channel import open_channel
from tests.support.engines import engine_worker
from tests.support.identities import Pki
from tests.support.meshes import Mesh, all_in_one
from tests.support.processes import free_port, machine, until
from tests.support.temporal_gate import Gate, gate_before
from tests.support.workflows import Workers, flows, step

pytestmark = [pytest.mark.xdist_group("temporal"), pytest.mark.timeout(120)]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    (tmp_path / "pki").mkdir()
    return Pki.make(tmp_path / "pki")


@pytest.fixture
async def gate(temporal_server: ServerProcess, pki: Pki) -> AsyncIterator[tuple[str, Gate]]:
    async with gate_before(temporal_server.server.address, pki.tls) as made:
        yield made


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with all_in_one(tmp_path) as mesh:
        yield mesh


def shown(pki: Pki, **more: Any) -> dict[str, Any]:
    """What a worker is told to show."""
    security = pki.service("engine")
    return {
        "temporal_ca_file": str(security.ca),
        "temporal_cert_file": str(security.cert),
        "temporal_key_file": str(security.key),
        **more,
    }


async def test_runs_go_on_where_temporal_is_secured_and_after_its_key_was_changed(
    mesh: Mesh, gate: tuple[str, Gate], pki: Pki, tmp_path: Path
) -> None:
    address, door = gate
    workers, key = Workers(), tmp_path / "api-key"
    key.write_text("first\n")
    door.good_keys = {"first"}
    told = shown(pki, temporal_api_key=f"file:{key}")
    async with (
        mesh.host(workers.agent),
        engine_worker(f"temporals://{address}/default", mesh.scheduler, **told),
        flows(mesh.scheduler, ENGINE_KIND_TEMPORAL) as flow,
    ):
        hold = step("hold", "test.hold", input={"text": "a"})
        await flow.register("held", hold, step("say", "test.say", "hold", input={"text": "b"}))
        run_id = await flow.start("held")
        await flow.until(run_id, "hold", "RUNNING")
        key.write_text("second\n")
        door.good_keys = {"second"}
        workers.gate.set()
        assert (await flow.end(run_id, 60)).state == RUN_STATE_SUCCEEDED
        assert door.passed == {"first", "second"}
        assert workers.ran == {"a": 1, "b": 1}


async def test_another_certificate_is_shown_from_when_it_is_there(
    mesh: Mesh, gate: tuple[str, Gate], pki: Pki
) -> None:
    address, door = gate
    door.good_keys = {"key"}
    told = shown(pki, temporal_api_key="key")
    async with engine_worker(f"temporals://{address}/default", mesh.scheduler, **told):
        assert door.shown == {"engine"}
        pki.service("engine-renewed", "engine")
        await until(lambda: door.shown == {"engine", "engine-renewed"}, 30, "it shows the new one")


async def test_a_worker_whose_key_is_not_good_is_not_ready_until_it_is(
    mesh: Mesh, gate: tuple[str, Gate], pki: Pki, tmp_path: Path
) -> None:
    address, door = gate
    key = tmp_path / "api-key"
    key.write_text("wrong")
    door.good_keys = {"right"}
    told = shown(pki, temporal_api_key=f"file:{key}")

    async def mend() -> bool:
        if door.refused:
            key.write_text("right")
        return bool(door.passed)

    async with asyncio.TaskGroup() as tasks:
        mended = tasks.create_task(until(mend, 30, "the worker is let in"))
        async with engine_worker(f"temporals://{address}/default", mesh.scheduler, **told):
            await mended
    assert door.refused


async def test_a_worker_is_stopped_also_while_temporal_and_the_schedulers_are_away(
    tmp_path: Path,
) -> None:
    nowhere, health = f"127.0.0.1:{free_port()}", free_port()
    told = {
        "MUSTER_GRPC_PORT": str(free_port()),
        "MUSTER_HTTP_PORT": "none",
        "MUSTER_HEALTH_PORT": str(health),
        "MUSTER_TEMPORAL": nowhere,
        "MUSTER_SCHEDULER_TARGETS": nowhere,
    }
    async with machine(tmp_path) as started, open_channel(f"127.0.0.1:{health}") as channel:
        worker = await started.start("engine", "-m", "muster.engine", environment=told)
        stub: Any = HealthStub(channel)
        live = await stub.Check(HealthCheckRequest(service=LIVE), wait_for_ready=True, timeout=30)
        assert live.status == HealthCheckResponse.SERVING
        async with asyncio.timeout(8):
            assert await worker.terminate() == 0


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"temporal": ""}, "MUSTER_TEMPORAL names no Temporal"),
        (
            {"temporal": "t.example:7233/mine", "temporal_api_key": "secret"},
            "refusing to send MUSTER_TEMPORAL_API_KEY to t.example in clear: say "
            "temporals://t.example:7233/mine in MUSTER_TEMPORAL",
        ),
        (
            {"temporal": "t.example:7233", "temporal_ca_file": "ca.pem"},
            "MUSTER_TEMPORAL_CA_FILE is for TLS: say temporals://t.example:7233/default",
        ),
        (
            {"temporal": "temporals://t.example:7233", "temporal_cert_file": "c.pem"},
            "MUSTER_TEMPORAL_CERT_FILE and MUSTER_TEMPORAL_KEY_FILE go together",
        ),
        (
            {"temporal": "temporals://t.example:7233", "temporal_ca_file": "none.pem"},
            "none.pem, for Temporal, cannot be read: No such file",
        ),
        (
            {"temporal": "temporals://t.example:7233", "temporal_api_key": "file:none.key"},
            "none.key, for Temporal, cannot be read: No such file",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    told: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        build(replace(default_config(Role.ENGINE), **told))  # type: ignore[arg-type]
    assert message in str(refused.value)
    assert "secret" not in str(refused.value)
