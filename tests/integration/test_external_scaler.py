"""KEDA's external scaler, called as KEDA calls it: any scheduler answers for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from muster.agent import Agent, Handle, connect
from muster.keda.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from muster.keda.externalscaler_pb2_grpc import ExternalScalerStub
from muster.model.errors import Code
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from muster.wire.security import NO_TLS, Security
from tests.support.identities import Pki, environment
from tests.support.meshes import Mesh, separate
from tests.support.processes import until
from tests.support.replicas import replicas

SECONDS = 10.0


class Gate:
    """Agents whose work ends when the test says so; two at a time."""

    def __init__(self) -> None:
        self.began = 0
        self.open = asyncio.Event()
        self.agent = Agent("gate", kind="test", max_in_flight=2)

        @self.agent.capability("keda.wait")
        async def wait() -> None:
            self.began += 1
            await self.open.wait()

        @self.agent.capability("keda.other")
        async def other() -> None:
            return None


def scaled(**metadata: str) -> ScaledObjectRef:
    """A ScaledObject with this trigger, as KEDA passes it on."""
    trigger = {"scalerAddress": "muster-scheduler:7173", **metadata}
    return ScaledObjectRef(name="workers", namespace="work", scalerMetadata=trigger)


WORKERS = scaled(capability="keda.wait", perReplica="2")
EXECUTORS = scaled(target="executor", perReplica="500")


@asynccontextmanager
async def keda(address: str, security: Security = NO_TLS) -> AsyncIterator[Any]:
    async with open_channel(address, security, retries=False) as channel:
        yield ExternalScalerStub(channel)


async def load(stub: Any, of: ScaledObjectRef) -> float:
    """What GetMetrics says of the metric that GetMetricSpec names."""
    (spec,) = (await stub.GetMetricSpec(of)).metricSpecs
    request = GetMetricsRequest(scaledObjectRef=of, metricName=spec.metricName)
    (value,) = (await stub.GetMetrics(request)).metricValues
    assert value.metricName == spec.metricName
    assert value.metricValue == value.metricValueFloat
    return float(value.metricValueFloat)


def schedulers(mesh: Mesh) -> list[str]:
    """Each of them, one by one."""
    return mesh.scheduler.split(",")


async def test_every_scheduler_counts_what_waits_and_runs_anywhere(mesh: Mesh) -> None:
    gate = Gate()
    async with mesh.host(gate.agent), connect() as client:
        handles = [await client.submit("keda.wait", {}) for _ in range(20)]
        for handle in handles:
            await handle.accepted()
        await until(lambda: gate.began == 2, SECONDS, "two of them run")
        for address in schedulers(mesh):
            async with keda(address) as stub:
                assert (await stub.IsActive(WORKERS)).result
                assert await load(stub, WORKERS) == 20
                assert await load(stub, EXECUTORS) == 20
                other = scaled(capability="keda.other", perReplica="2")
                assert not (await stub.IsActive(other)).result
                assert await load(stub, other) == 0
                both = scaled(capability="keda.other, keda.wait", perReplica="0.5")
                assert await load(stub, both) == 20
                (spec,) = (await stub.GetMetricSpec(both)).metricSpecs
                assert (spec.targetSize, spec.targetSizeFloat) == (1, 0.5)
        gate.open.set()
        await finished(handles)
        for address in schedulers(mesh):
            async with keda(address) as stub:
                assert not (await stub.IsActive(WORKERS)).result
                assert await load(stub, EXECUTORS) == 0


async def finished(handles: list[Handle]) -> None:
    async with asyncio.timeout(SECONDS):
        for handle in handles:
            await handle.result()


async def test_who_listens_hears_at_once_when_there_is_something_and_when_there_is_nothing(
    mesh: Mesh,
) -> None:
    gate = Gate()
    async with mesh.host(gate.agent), connect() as client:
        # Eight contracts are of eight shards, as a rule of either scheduler's.
        for address in schedulers(mesh):
            gate.open.clear()
            async with keda(address) as stub, asyncio.timeout(SECONDS):
                told = stub.StreamIsActive(WORKERS)
                assert not (await told.read()).result
                await client.call("keda.other")
                handles = [await client.submit("keda.wait", {}) for _ in range(8)]
                assert (await told.read()).result
                gate.open.set()
                await finished(handles)
                assert not (await told.read()).result
                told.cancel()


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"perReplica": "1"}, "capability must name"),
        ({"capability": "a"}, "perReplica must be"),
        ({"capability": "a", "perReplica": "0"}, "perReplica must be"),
        ({"capability": "a", "perReplica": "nan"}, "perReplica must be"),
        ({"capability": "a", "perReplica": "1", "target": "pods"}, "target must be"),
    ],
)
async def test_a_trigger_that_says_nonsense_is_told_what_to_write(
    tmp_path: Path, metadata: dict[str, str], said: str
) -> None:
    async with separate(tmp_path) as mesh, keda(mesh.scheduler) as stub:
        for method in (stub.IsActive, stub.GetMetricSpec):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(scaled(**metadata))
            error = error_of_rpc(caught.value)
            assert error.code is Code.INVALID_ARGUMENT
            assert said in error.message
            assert error.violations
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetMetrics(GetMetricsRequest(scaledObjectRef=WORKERS, metricName="s0-x"))
        assert error_of_rpc(caught.value).code is Code.NOT_FOUND


async def test_a_tenant_is_read_by_its_operators_and_by_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki = Pki.make(tmp_path / "pki")
    async with separate(tmp_path, pki.tls) as mesh:
        security = pki.caller("agent", "gate")
        for name, value in {**mesh.environment(), **environment(security)}.items():
            monkeypatch.setenv(name, value)
        gate = Gate()
        of_acme = scaled(capability="keda.wait", perReplica="2", tenant="acme")
        async with mesh.host(gate.agent, name="gate"):
            for name, value in environment(pki.caller("client")).items():
                monkeypatch.setenv(name, value)
            async with connect() as client:
                await (await client.submit("keda.wait", {})).accepted()
            for caller, of in (
                (pki.caller("operator"), WORKERS),
                (pki.caller("operator"), of_acme),
                (pki.service(), of_acme),
            ):
                async with keda(mesh.scheduler, caller) as stub:
                    assert await load(stub, of) == 1
            async with keda(mesh.scheduler, pki.caller("operator", tenant="other")) as stub:
                assert await load(stub, WORKERS) == 0
                assert await refusal_of(stub, of_acme) is Code.NOT_FOUND
            async with keda(mesh.scheduler, pki.caller("client")) as stub:
                assert await refusal_of(stub, WORKERS) is Code.PERMISSION_DENIED
            gate.open.set()


async def refusal_of(stub: Any, of: ScaledObjectRef) -> Code:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.IsActive(of)
    return error_of_rpc(caught.value).code


async def test_who_listens_goes_on_listening_when_another_scheduler_leaves(
    tmp_path: Path, postgres_url: str
) -> None:
    gate = Gate()
    async with replicas(tmp_path, postgres_url) as both:
        await both.shared_by(2)
        async with (
            both.mesh(1).host(gate.agent),
            connect(both.mesh(1).scheduler) as client,
            keda(both.mesh(1).scheduler) as stub,
            asyncio.timeout(30),
        ):
            told = stub.StreamIsActive(WORKERS)
            assert not (await told.read()).result
            await both.schedulers[0].stop()
            handle = await client.submit("keda.wait", {})
            assert (await told.read()).result
            gate.open.set()
            await handle.result()
            assert not (await told.read()).result
            told.cancel()
