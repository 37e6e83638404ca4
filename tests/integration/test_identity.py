"""Who may do what over real TLS: the identity table of the promise, for every method there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from muster.agent import Agent, Host, connect
from muster.keda import externalscaler_pb2
from muster.model.errors import Code, MusterError
from muster.runtime import standard_protos
from muster.runtime.permissions import methods, roles_of_method
from muster.runtime.principal import ROLE_NAMES
from muster.runtime.serve import Server
from muster.v1 import workflow_service_pb2 as workflows
from muster.v1.permission_pb2 import Role
from muster.v1.schedule_service_pb2 import (
    TriggerScheduleRequest,
    UpdateScheduleRequest,
)
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from muster.wire.security import Security
from tests.support.identities import AUDIENCE, ISSUER, Issuer, Pki
from tests.support.meshes import SHAPES, Mesh, running, separate
from tests.support.scheduled import each_hour
from tests.support.scripted_service import check_health
from tests.support.tenants_things import theirs_of, use

KEDA = externalscaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"]
OWN = tuple(methods())
METHODS = (*OWN, *KEDA.methods)
ISSUED = Issuer()
REFLECTION = f"/{standard_protos.REFLECTION_V1}/ServerReflectionInfo"


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def allowed_for(method: MethodDescriptor) -> frozenset[int]:
    """The roles that may call a method."""
    return roles_of_method(path_of(method)) or frozenset()


def server_of(mesh: Mesh, method: MethodDescriptor) -> Any:
    """The server that serves a method."""
    service = method.containing_service.name
    at = {"ExecutorService": 2, "RegistryService": 1}.get(service, 0)
    return mesh.servers[at if len(mesh.servers) > 1 else 0]


@dataclass(frozen=True)
class Secured:
    """A mesh with TLS, and where its identities come from."""

    mesh: Mesh
    pki: Pki

    async def refusal(
        self,
        method: MethodDescriptor,
        security: Security,
        request: bytes | None = b"",
        metadata: tuple[tuple[str, str], ...] = (),
        *,
        token_port: bool = False,
    ) -> MusterError | None:
        """How a method refuses a call; None where it takes it, at least to begin with."""
        server = server_of(self.mesh, method)
        address = server.token_address if token_port else server.address
        async with open_channel(address, security, retries=False) as channel:
            streams = ("unary", "stream")
            kind = f"{streams[method.client_streaming]}_{streams[method.server_streaming]}"
            argument: Any = request
            if method.client_streaming:
                argument = iter([] if request is None else [request])
            call = getattr(channel, kind)(path_of(method))(
                argument, metadata=metadata, timeout=0.7 if method.server_streaming else 5
            )
            try:
                if method.server_streaming:
                    await call.read()
                else:
                    await call
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    return None
                return error_of_rpc(error)
            finally:
                call.cancel()
        return None


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    """Three services that meet over TLS, and take tokens too."""
    pki = Pki.make(
        tmp_path / "pki",
        token_port=0,
        token_keys=ISSUED.write(tmp_path / "keys.json"),
        token_issuer=ISSUER,
        token_audience=AUDIENCE,
    )
    async with separate(tmp_path, pki.tls) as mesh:
        yield Secured(mesh, pki)


def token_address(server: Server) -> str:
    """Where it takes tokens."""
    assert server.token_address is not None
    return server.token_address


async def reflect(channel: Any) -> None:
    """Calls reflection, with an empty question."""
    await channel.stream_stream(REFLECTION)(iter([b""]), timeout=5).read()


def echo_agent(name: str = "echo") -> Agent:
    agent = Agent(name, kind="test")

    @agent.capability("demo.say")
    async def say(text: str) -> str:
        return text

    return agent


@pytest.mark.parametrize("shape", SHAPES)
async def test_agents_and_clients_meet_over_mutual_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    pki = Pki.make(tmp_path / "pki")
    async with SHAPES[shape](tmp_path, pki.tls) as mesh:
        use(monkeypatch, mesh, pki.caller("agent", "echo"))
        async with running(Host([echo_agent()], name="echo")):
            use(monkeypatch, mesh, pki.caller("client"))
            async with connect() as client:
                handle = await client.submit("demo.say", {"text": "hello"})
                assert await handle.result() == "hello"
                contract = await client.get(await handle.accepted())
            assert contract.tenant == "acme"
            assert contract.principal == "client/ann"


async def test_a_token_is_as_good_as_a_certificate_on_its_port(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, registry, executor = secured.mesh.servers
    by_token = Mesh(token_address(scheduler), token_address(executor), token_address(registry), [])
    file = tmp_path / "token"
    file.write_text(ISSUED.token(roles=["agent"], sub="echo") + "\n")
    shown = Security(secured.pki.authority.path, token_file=file)
    use(monkeypatch, by_token, shown)
    async with running(Host([echo_agent()], name="echo")):
        file.write_text(ISSUED.token("EdDSA"))
        async with connect() as client:
            assert await client.call("demo.say", {"text": "hello"}) == "hello"
            # The next call shows what the file holds by then.
            file.write_text("expired.or.nonsense")
            with pytest.raises(MusterError) as caught:
                await client.statistics()
    assert caught.value.code is Code.UNAUTHENTICATED


async def test_no_token_makes_the_mesh_fetch_anything(secured: Secured) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener:
        host, port = listener.sockets[0].getsockname()
        url = f"http://{host}:{port}/keys.json"
        method = next(each for each in METHODS if each.name == "GetStatistics")
        for headers in (
            {"jku": url},
            {"x5u": url},
            {"kid": url},
            {"jku": url, "kid": "unknown"},
            {"jwk": {**ISSUED.jwk("ES256"), "x5u": url}},
        ):
            token = secured.pki.with_token(ISSUED.token(headers=headers))
            error = await secured.refusal(method, token, token_port=True)
            assert error is not None, headers
            assert error.code is Code.UNAUTHENTICATED, headers
        good = secured.pki.with_token(ISSUED.token(iss=ISSUER))
        assert await secured.refusal(method, good, token_port=True) is None
    assert not asked


# --- every method ---------------------------------------------------------------------------------


async def test_without_credentials_every_method_is_unauthenticated(secured: Secured) -> None:
    assert len(METHODS) >= 27
    stranger = secured.pki.stranger()
    for method in METHODS:
        error = await secured.refusal(method, stranger, token_port=True)
        assert error is not None, method.full_name
        assert error.code is Code.UNAUTHENTICATED, (method.full_name, error)


async def test_health_is_open_and_reflection_is_not(secured: Secured) -> None:
    stranger, pki = secured.pki.stranger(), secured.pki
    for server in secured.mesh.servers:
        async with open_channel(token_address(server), stranger) as channel:
            assert await check_health(channel, "") == 1
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await reflect(channel)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        async with open_channel(server.address, pki.caller("client")) as channel:
            await reflect(channel)


async def test_each_role_may_call_its_methods_and_no_others(secured: Secured) -> None:
    pki = secured.pki
    callers = {
        Role.ROLE_CLIENT: pki.caller("client"),
        Role.ROLE_AGENT: pki.caller("agent", "a"),
        Role.ROLE_OPERATOR: pki.caller("operator"),
        Role.ROLE_SERVICE: pki.service(),
    }
    for role, security in callers.items():
        for method in METHODS:
            allowed = allowed_for(method)
            assert allowed, method.full_name
            error = await secured.refusal(method, security, request=b"\xff")
            where = (ROLE_NAMES[role], method.full_name, error)
            if role in allowed:
                refused = (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED)
                assert error is None or error.code not in refused, where
            else:
                assert error is not None, where
                assert error.code is Code.PERMISSION_DENIED, where


# What these name is about to be made.
MAKES = ("CreateSchedule",)
# What else these have to say before anybody looks at the name.
BESIDES: dict[str, Message] = {
    "UpdateSchedule": UpdateScheduleRequest(spec=each_hour("demo.say")),
    "TriggerSchedule": TriggerScheduleRequest(trigger_id="once"),
    "StartRun": workflows.StartRunRequest(start_id="s"),
    "ForkRun": workflows.ForkRunRequest(step="a", start_id="s"),
    "SignalRun": workflows.SignalRunRequest(name="go"),
}


def id_fields(method: MethodDescriptor) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The fields of a unary request that name one thing that belongs to somebody."""
    named = {"contract_id", "request_id", "registration_id", "sha256", "agent", "host", "name"}
    if method.client_streaming or method.name in MAKES:
        return
    if method.containing_service.name == "AgentStateService":
        return  # what agents keep has two names; test_agent_state asks for it
    if method.containing_service.name == "WorkflowService":
        if method.name.startswith("List"):
            return  # a filter finds what there is, and nothing is unknown to it
        named |= {"run_id", "workflow"}
        if "run_id" in method.input_type.fields_by_name:
            named.remove("name")  # of a signal, which is nobody's
    for field in method.input_type.fields:
        if field.name in named and field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            yield (field,)
        elif field.name in ("capability", "selector") and field.message_type is not None:
            yield (field, field.message_type.fields_by_name["name"])


def test_the_walk_finds_every_method_that_takes_an_id() -> None:
    found = {method.name for method in METHODS for _ in id_fields(method)}
    assert found >= {
        "GetContract",
        "WatchContracts",
        "WaitContract",
        "CancelContract",
        "ExplainPlacement",
        "HeartbeatAgent",
        "GetAgent",
        "GetCapability",
        "GetBlob",
        "DrainHost",
        "DrainAgent",
    }


def request_with(method: MethodDescriptor, path: tuple[FieldDescriptor, ...], value: str) -> bytes:
    message: Any = GetMessageClass(method.input_type)()
    if method.name in BESIDES:
        message.MergeFrom(BESIDES[method.name])
    holder = message
    for field in path[:-1]:
        holder = getattr(holder, field.name)
    setattr(holder, path[-1].name, value)
    raw: bytes = message.SerializeToString()
    return raw


async def test_another_tenants_things_are_as_unknown_as_what_never_was(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, pki = secured.mesh, secured.pki
    use(monkeypatch, mesh, pki.caller("agent", "echo"))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(Host([echo_agent()], name="echo")))
        theirs = await theirs_of(secured.mesh, secured.pki, stack, monkeypatch)
        # What KEDA's interface calls a name is none of the mesh's.
        for method in OWN:
            for path in id_fields(method):
                found = theirs[path[-1].name if len(path) == 1 else "capability"]
                for role in ("client", "agent", "operator"):
                    if any(ROLE_NAMES[each] == role for each in allowed_for(method)):
                        stranger = pki.caller(role, "eve", tenant="globex")
                        await _require_unknown(secured, stranger, method, path, found)
        # Whoever ends what is not theirs has ended nothing.
        beat = next(each for each in METHODS if each.name == "HeartbeatAgent")
        (path,) = id_fields(beat)
        owner, mine = pki.caller("agent", "echo"), theirs["registration_id"][0]
        assert await secured.refusal(beat, owner, request_with(beat, path, mine)) is None


# What these say of a thing that is not known: nothing of it is there; it is gone already.
OK_FOR_UNKNOWN = ("StatBlob", "DeregisterAgent")


async def _require_unknown(
    secured: Secured,
    stranger: Security,
    method: MethodDescriptor,
    path: tuple[FieldDescriptor, ...],
    found: tuple[str, str],
) -> None:
    """A stranger learns the same of a thing that is there as of one that never was."""
    said = []
    for value in found:
        error = await secured.refusal(method, stranger, request_with(method, path, value))
        if method.name in OK_FOR_UNKNOWN:
            assert error is None, (method.full_name, error)
        else:
            assert error is not None, method.full_name
            assert error.code is Code.NOT_FOUND, (method.full_name, error)
        said.append(str(error).replace(value, "it"))
    assert said[0] == said[1], method.full_name
