"""What a caller's identity entitles it to, and what it may not pretend to be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from muster.agent import Agent, Ask, Host, connect
from muster.model.errors import Code, MusterError
from muster.runtime.principal import FORWARDED_KEY, ROLES_KEY, SUBMITS_KEY
from muster.v1 import registry_service_pb2 as registry
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability, CapabilitySelector
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.v1.request_pb2 import Request
from muster.v1.scheduler_service_pb2 import (
    GetStatisticsRequest,
    SubmitRequest,
    SubmitStreamRequest,
)
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc, error_of_status
from muster.wire.security import Security
from tests.support.identities import DOMAIN, Pki, environment
from tests.support.meshes import Mesh, running, separate
from tests.support.replicas import replicas

GRANTS: list[dict[str, Any]] = [
    {"principals": ["acme/agent/echo"], "offers": ["demo.*"]},
    {"principals": ["acme/agent/pool"], "offers": ["*"], "hosts": ["*"], "agents": ["p-*"]},
    {"principals": ["acme/client/ann"], "submits": ["demo.*"]},
]


def agent_of(name: str, *capabilities: str) -> Agent:
    agent = Agent(name, kind="test")

    async def say(text: str) -> str:
        return text

    for capability in capabilities:
        agent.capability(capability)(say)
    return agent


class Granted:
    """A mesh with grants, as somebody sees it who may change identity."""

    def __init__(self, mesh: Mesh, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mesh = mesh
        self.pki = pki
        self._monkeypatch = monkeypatch

    def be(self, security: Security) -> None:
        for name, value in {**self.mesh.environment(), **environment(security)}.items():
            self._monkeypatch.setenv(name, value)

    async def refusal_of_host(self, host: Host) -> MusterError:
        with pytest.raises(MusterError) as caught:
            async with asyncio.timeout(10):
                await host.run()
        return caught.value


@pytest.fixture
async def granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Granted]:
    file = tmp_path / "grants.yaml"
    file.write_text(json.dumps(GRANTS))
    pki = Pki.make(tmp_path / "pki", grants=file)
    async with separate(tmp_path, pki.tls) as mesh:
        yield Granted(mesh, pki, monkeypatch)


@pytest.mark.parametrize("name", ["other", "echo2", "echo-2", "ech", "Echo"])
async def test_the_certificate_of_one_agent_attaches_as_no_other_host(granted: Granted, name: str):
    granted.be(granted.pki.caller("agent", "echo"))
    error = await granted.refusal_of_host(Host([agent_of("echo", "demo.say")], name=name))
    assert error.code is Code.PERMISSION_DENIED
    assert "echo" in error.message


async def test_on_its_own_host_it_attaches_no_agent_of_another(granted: Granted) -> None:
    granted.be(granted.pki.caller("agent", "echo"))
    agents = [agent_of("echo.one", "demo.say"), agent_of("other", "demo.say")]
    host = Host(agents, name="echo.here")
    async with running(host):
        assert host._session is not None
        assert set(host._session.refused) == {"other"}


async def test_a_capability_that_was_not_granted_is_refused_for_that_attach(
    granted: Granted,
) -> None:
    granted.be(granted.pki.caller("agent", "echo"))
    host = Host([agent_of("echo", "demo.say"), agent_of("echo.b", "other.say")], name="echo")
    async with running(host):
        assert host._session is not None
        assert set(host._session.refused) == {"echo.b"}
        granted.be(granted.pki.caller("client"))
        async with connect() as client:
            assert await client.call("demo.say", {"text": "still here"}) == "still here"


async def test_a_grant_of_names_lets_one_certificate_run_a_fleet(granted: Granted) -> None:
    granted.be(granted.pki.caller("agent", "pool"))
    host = Host([agent_of("p-1", "any.thing"), agent_of("q-1", "any.thing")], name="whatever")
    async with running(host):
        assert host._session is not None
        assert set(host._session.refused) == {"q-1"}


async def test_a_registration_needs_the_same_entitlement(granted: Granted) -> None:
    async with open_channel(granted.mesh.registry, granted.pki.caller("agent", "echo")) as channel:
        stub = RegistryServiceStub(channel)
        for spec in (
            AgentSpec(name="other", kind="test"),
            AgentSpec(name="echo", kind="test", capabilities=[Capability(name="other.say")]),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.RegisterAgent(registry.RegisterAgentRequest(spec=spec))
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        spec = AgentSpec(name="echo", kind="test", capabilities=[Capability(name="demo.say")])
        await stub.RegisterAgent(registry.RegisterAgentRequest(spec=spec))


def request_for(capability: str, request_id: str = "r") -> Request:
    return Request(request_id=request_id, capability=CapabilitySelector(name=capability))


@pytest.mark.parametrize("name", ["ann", "bob"])
async def test_asking_for_what_was_not_granted_is_refused_on_either_call(
    granted: Granted, name: str
) -> None:
    wanted = "other.say" if name == "ann" else "demo.say"
    async with open_channel(granted.mesh.scheduler, granted.pki.caller("client", name)) as channel:
        stub = SchedulerServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Submit(SubmitRequest(request=request_for(wanted)))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        frames = iter([SubmitStreamRequest(requests=[request_for(wanted)])])
        answers = [answer async for answer in stub.SubmitStream(frames)]
    errors = [error_of_status(each.error) for answer in answers for each in answer.refused]
    assert [error.code for error in errors] == [Code.PERMISSION_DENIED]


async def test_grants_that_change_count_without_a_restart(granted: Granted) -> None:
    from tests.support.processes import until

    async with open_channel(granted.mesh.scheduler, granted.pki.caller("client", "bob")) as channel:
        stub = SchedulerServiceStub(channel)

        async def code() -> grpc.StatusCode:
            try:
                await stub.Submit(SubmitRequest(request=request_for("demo.none")))
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        assert await code() is grpc.StatusCode.PERMISSION_DENIED
        path = granted.pki.tls.grants
        assert path is not None
        path.write_text("- {principals: [acme/client/*], submits: ['*']}")

        async def taken() -> bool:
            return await code() is grpc.StatusCode.NOT_FOUND

        await until(taken, 10, "the new grants count")
        path.write_text("- {principals: nonsense}")
        assert await taken()


# --- pretending -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("muster-tenant", "globex"),
        ("muster-principal", "client/bob"),
        (ROLES_KEY, "service"),
        (SUBMITS_KEY, "*"),
        (FORWARDED_KEY, "1"),
    ],
)
async def test_what_only_services_may_say_is_refused_from_others(
    granted: Granted, key: str, value: str
) -> None:
    async with open_channel(granted.mesh.scheduler, granted.pki.caller("client")) as channel:
        stub = SchedulerServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetStatistics(GetStatisticsRequest(), metadata=((key, value),))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        own = (("muster-tenant", "acme"), ("muster-principal", "client/ann"))
        await stub.GetStatistics(GetStatisticsRequest(), metadata=own)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://other.local/tenant/acme/client/ann",
        f"spiffe://{DOMAIN}/tenant/acme/admin/ann",
        f"spiffe://{DOMAIN}/tenant/acme/service/ann",
        f"spiffe://{DOMAIN}/tenant/../client/ann",
        f"spiffe://{DOMAIN}/tenant/acme/client/ann/more",
        f"spiffe://{DOMAIN}.evil.local/service/x",
        f"spiffe://{DOMAIN}/service",
        f"https://{DOMAIN}/service/x",
    ],
)
async def test_a_certificate_of_no_identity_here_is_unauthenticated(granted: Granted, uri: str):
    async with open_channel(granted.mesh.scheduler, granted.pki.identity(uri)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SchedulerServiceStub(channel).GetStatistics(GetStatisticsRequest())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_no_certificate_or_a_wrong_one_fails_the_handshake(
    granted: Granted, tmp_path: Path
) -> None:
    others = Pki.make(tmp_path / "others")
    theirs = others.caller("client")
    forged = Security(granted.pki.authority.path, theirs.cert, theirs.key)
    deceived = Security(others.authority.path, *_pair(granted.pki.caller("client")))
    for security in (granted.pki.stranger(), forged, deceived, Security()):
        async with open_channel(granted.mesh.scheduler, security, retries=False) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await SchedulerServiceStub(channel).GetStatistics(GetStatisticsRequest())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert error_of_rpc(caught.value).reason == ""  # the mesh never saw the call


def _pair(security: Security) -> tuple[Path, Path]:
    assert security.cert is not None
    assert security.key is not None
    return security.cert, security.key


async def test_a_call_that_is_passed_on_keeps_its_caller_and_what_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    file = tmp_path / "grants.yaml"
    file.write_text(json.dumps(GRANTS))
    pki = Pki.make(tmp_path / "pki", grants=file)
    async with replicas(tmp_path, postgres_url, tls=pki.tls) as both:
        await both.shared_by(2)
        granted = Granted(both.mesh(0), pki, monkeypatch)
        granted.be(pki.caller("agent", "echo"))
        async with running(Host([agent_of("echo", "demo.say")], name="echo")):
            granted.be(pki.caller("client"))
            async with connect() as client:
                asks = [Ask("demo.say", {"text": str(number)}) for number in range(50)]
                assert await client.gather(asks) == [str(number) for number in range(50)]
                found = [contract async for contract in client.list()]
                assert {each.principal for each in found} == {"client/ann"}
                for each in found[:8]:
                    assert (await client.get(each.id)).tenant == "acme"
        # A service that passes a call on says what its caller may; nothing it leaves out is given.
        async with open_channel(both.mesh(0).scheduler, pki.service()) as channel:
            stub = SchedulerServiceStub(channel)
            caller = (("muster-tenant", "acme"), ("muster-principal", "client/ann"))
            for said, code in (
                ((), grpc.StatusCode.PERMISSION_DENIED),
                (((ROLES_KEY, "agent"), (SUBMITS_KEY, "x.*")), grpc.StatusCode.PERMISSION_DENIED),
                (((ROLES_KEY, "agent"), (SUBMITS_KEY, "none")), grpc.StatusCode.NOT_FOUND),
            ):
                request = SubmitRequest(request=request_for("none"))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Submit(request, metadata=(*caller, *said))
                assert caught.value.code() is code
