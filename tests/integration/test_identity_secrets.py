"""Secrets that callers and operators put in come out nowhere: logs, metrics, events, errors."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest

from muster.agent import Agent, Host
from muster.runtime.logs import configure_logs
from muster.v1.capability_pb2 import CapabilitySelector
from muster.v1.payload_pb2 import Binary, Payload
from muster.v1.request_pb2 import Request
from muster.v1.scheduler_service_pb2 import (
    GetContractRequest,
    ListContractsRequest,
    SubmitRequest,
    WatchContractsRequest,
)
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from tests.support.identities import AUDIENCE, ISSUER, Issuer, Pki, environment
from tests.support.meshes import Mesh, running, separate

ISSUED = Issuer()
NAMES = {"label key", "unknown capability", "unknown request id"}


class Canaries:
    """Makes secrets, each like no other, and finds them again."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def new(self, where: str) -> str:
        assert where not in self.made
        secret = f"canary{len(self.made):02d}{os.urandom(6).hex()}"
        self.made[where] = secret
        return secret

    def found_in(self, text: str) -> list[str]:
        return [where for where, secret in self.made.items() if secret in text]


async def _metrics(mesh: Mesh) -> str:
    def fetch(address: str | None, path: str) -> str:
        with urlopen(f"http://{address}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    asked = [(each.http_address, path) for each in mesh.servers for path in ("/metrics", "/ready")]
    return "\n".join([await asyncio.to_thread(fetch, *each) for each in asked if each[0]])


def _requests(canaries: Canaries) -> Iterator[tuple[str, Request]]:
    """Requests that are taken, and requests that are refused, with secrets in each part."""
    new = canaries.new
    good: dict[str, Any] = {
        "request_id": "good",
        "capability": CapabilitySelector(name="demo.eat"),
        "payload": Payload(json=f'{{"text": "{new("payload")}"}}'),
        "labels": {"team": new("label value")},
        "conversation_id": "talk",
    }
    yield "good", Request(**good)
    yield "mismatch", Request(**{**good, "payload": Payload(json=f'{{"x": "{new("misfit")}"}}')})
    yield "not json", Request(**{**good, "payload": Payload(json=f"{{{new('no json')}")})
    yield "label key", Request(**{**good, "labels": {f"{new('label key')} !": "x"}})
    yield "long label", Request(**{**good, "labels": {"x": new("long label") * 1000}})
    yield "conversation", Request(**{**good, "conversation_id": f"{new('conversation')}\r\n"})
    yield "id", Request(**{**good, "request_id": f"{new('request id')}\0"})
    yield (
        "capability",
        Request(**{**good, "capability": CapabilitySelector(name=new("name") + "!")}),
    )
    yield "bytes", Request(**{**good, "payload": Payload(binary=Binary(data=new("data").encode()))})


def _metadata(canaries: Canaries) -> Iterator[tuple[tuple[str, str | bytes], ...]]:
    new = canaries.new
    yield (("authorization", f"Bearer {new('bearer')}"),)
    yield (("authorization", f"Basic {new('basic')}"),)
    yield (("authorization", f"{new('scheme')}"),)
    yield (("cookie", f"session={new('cookie')}"),)
    yield (("x-api-key", new("api key")),)
    yield (("x-key-bin", new("binary metadata").encode()),)
    yield (("muster-tenant", new("tenant")),)
    yield (("muster-principal", f"{new('principal')} x"),)
    yield (("muster-roles", new("roles")),)
    yield (("muster-forwarded", new("forwarded")),)
    yield (("traceparent", new("traceparent")),)


def _tokens(canaries: Canaries) -> Iterator[str]:
    new = canaries.new
    yield ISSUED.token(sub=new("token subject") + "\n")
    yield ISSUED.token(iss=f"https://{new('token issuer')}")
    yield ISSUED.token(aud=new("token audience"))
    yield ISSUED.token(headers={"kid": new("token kid")})
    yield ISSUED.token(headers={"kid": f"/{new('token kid path')}"})
    yield ISSUED.token(headers={"jku": f"http://127.0.0.1:1/{new('token jku')}"})
    yield ISSUED.token(tenant=f"{new('token tenant')}!")
    yield ISSUED.token(note=new("token claim"))
    yield ISSUED.token(exp=1, jti=new("expired token"))


async def _call_everything(mesh: Mesh, pki: Pki, canaries: Canaries, said: list[str]) -> None:
    async def note(call: Any) -> None:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            said.append(f"{error.details()} {error.trailing_metadata()}")

    async with open_channel(mesh.scheduler, pki.caller("client")) as channel:
        stub = SchedulerServiceStub(channel)
        for _, request in _requests(canaries):
            await note(stub.Submit(SubmitRequest(request=request), timeout=5))
        for metadata in _metadata(canaries):
            await note(stub.GetContract(GetContractRequest(), metadata=metadata, timeout=5))
            listing = ListContractsRequest()
            await note(stub.ListContracts(listing, metadata=metadata, timeout=5))
        raw: Any = channel.unary_unary("/muster.v1.SchedulerService/Submit")
        await note(raw(b"\xff" + canaries.new("unparseable bytes").encode(), timeout=5))
        await note(stub.ListContracts(ListContractsRequest(page_token=canaries.new("page token"))))
        method: Any = channel.unary_unary(f"/muster.v1.{canaries.new('method')}/X")
        await note(method(b"", timeout=5))
        unknown = Request(request_id="x", capability=CapabilitySelector(name="a"))
        unknown.capability.name = canaries.new("unknown capability")
        await note(stub.Submit(SubmitRequest(request=unknown), timeout=5))
        named = GetContractRequest(request_id=canaries.new("unknown request id"))
        await note(stub.GetContract(named, timeout=5))
    token_address = mesh.servers[0].token_address
    assert token_address is not None
    for token in _tokens(canaries):
        async with open_channel(token_address, pki.with_token(token)) as channel:
            await note(SchedulerServiceStub(channel).GetContract(GetContractRequest(), timeout=5))


async def test_secrets_that_callers_send_come_out_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries, said, log = Canaries(), list[str](), io.StringIO()
    configure_logs("debug", "json", log)
    pki = Pki.make(
        tmp_path / "pki",
        token_port=0,
        token_keys=ISSUED.write(tmp_path / "keys.json"),
        token_issuer=ISSUER,
        token_audience=AUDIENCE,
    )
    eater = Agent("eater", kind="test", labels={"note": canaries.new("agent label")})

    @eater.capability("demo.eat")
    async def eat(text: str) -> str:
        return "done"

    async with separate(tmp_path, pki.tls) as mesh:
        for name, value in {
            **mesh.environment(),
            **environment(pki.caller("agent", "eater")),
        }.items():
            monkeypatch.setenv(name, value)
        async with running(Host([eater], name="eater")):
            await _call_everything(mesh, pki, canaries, said)
            told = await _events(mesh, pki) + await _metrics(mesh)
    assert len(canaries.made) >= 30, len(canaries.made)
    assert log.getvalue().count("\n") > 3
    assert not canaries.found_in(log.getvalue())
    # An error names the thing that was wrong to whoever has named it so, and tells nothing else.
    assert set(canaries.found_in("\n".join(said))) <= NAMES
    assert not canaries.found_in(told)


async def _events(mesh: Mesh, pki: Pki) -> str:
    """Every event of the contract that was taken; not its snapshot, which is its owner's own."""
    async with open_channel(mesh.scheduler, pki.caller("client")) as channel:
        stub = SchedulerServiceStub(channel)
        found = await stub.GetContract(GetContractRequest(request_id="good"))
        request = WatchContractsRequest(contract_id=found.contract.id)
        texts: list[str] = []
        async with asyncio.timeout(10):
            async for frame in stub.WatchContracts(request):
                texts.extend(str(event) for event in frame.events)
                if frame.HasField("response"):
                    break
    assert texts
    return "\n".join(texts)


@pytest.mark.parametrize("name", ["MUSTER_TLS_CERT", "MUSTER_TLS_KEY", "MUSTER_TLS_CA"])
def test_a_service_that_refuses_to_start_tells_neither_path_nor_content(
    tmp_path: Path, name: str
) -> None:
    canaries = Canaries()
    pki = Pki.make(tmp_path / "pki")
    folder = tmp_path / canaries.new("folder of a key")
    folder.mkdir()
    file = folder / canaries.new("file of a key")
    file.write_text(
        f"-----BEGIN PRIVATE KEY-----\n{canaries.new('content of a key')}\n"
        "-----END PRIVATE KEY-----\n"
    )
    told = {
        **os.environ,
        "MUSTER_DATA_DIR": str(tmp_path / "data"),
        "MUSTER_GRPC_PORT": "0",
        "MUSTER_HTTP_PORT": "none",
        "MUSTER_PROFILE": "production",
        "MUSTER_TLS_CERT": str(pki.tls.tls_cert),
        "MUSTER_TLS_KEY": str(pki.tls.tls_key),
        "MUSTER_TLS_CA": str(pki.tls.tls_ca),
        "MUSTER_LEDGER": f"postgresql://ann:{canaries.new('password')}@127.0.0.1:1/muster",
        name: str(file),
    }
    file.chmod(0o600)
    ended = subprocess.run(
        [sys.executable, "-m", "muster.scheduler"],
        env=told,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert name in ended.stderr
    assert not canaries.found_in(ended.stdout + ended.stderr)
