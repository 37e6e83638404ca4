"""Certificates, keys and authorities are replaced while everything runs."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from muster.agent import Agent, Host, connect
from muster.runtime.identity.authority import make_authority
from muster.runtime.identity.spiffe import service_id, tenant_id
from muster.v1.executor_service_pb2 import ListSessionsRequest
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.scheduler_service_pb2 import GetStatisticsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import Channels, open_channel
from muster.wire.security import Security
from tests.support.identities import DOMAIN, LOCAL, Pki, environment
from tests.support.meshes import Mesh, running, separate
from tests.support.processes import until

CONTRACTS = 20


async def reaches(mesh: Mesh, security: Security) -> bool:
    """Whether a new connection comes about."""
    async with open_channel(mesh.scheduler, security, retries=False) as channel:
        try:
            await SchedulerServiceStub(channel).GetStatistics(GetStatisticsRequest(), timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return False
            raise
    return True


async def sessions(mesh: Mesh, security: Security) -> list[str]:
    async with open_channel(mesh.executor, security) as channel:
        page = await ExecutorServiceStub(channel).ListSessions(ListSessionsRequest())
    return [session.id for session in page.sessions]


def bundle(path: Path, *authorities: Path) -> None:
    """In one step, as whoever distributes files does it."""
    part = path.with_suffix(".part")
    part.write_bytes(b"".join(each.read_bytes() for each in authorities))
    part.replace(path)


def install(new: Security, old: Security) -> None:
    """Puts one pair of files in the place of another, key first."""
    for made, place in ((new.key, old.key), (new.cert, old.cert)):
        assert made is not None
        assert place is not None
        part = place.with_suffix(".part")
        shutil.copy(made, part)
        part.replace(place)


class Work:
    """An agent whose work ends when the test says so."""

    def __init__(self) -> None:
        self.began: Counter[str] = Counter()
        self.open = asyncio.Event()
        self.agent = Agent("gate", kind="test", max_in_flight=CONTRACTS)

        @self.agent.capability("gate.pass")
        async def go(name: str) -> str:
            self.began[name] += 1
            await self.open.wait()
            return name


class Change:
    """From an old authority to a new one, step by step, and who has which certificate."""

    def __init__(self, folder: Path) -> None:
        self.old = Pki.make(folder / "old")
        self.new = make_authority(folder / "new", DOMAIN)
        self._trusted = folder / "trusted.pem"
        self.trust(self.old.authority.path)
        self.tls = replace(self.old.tls, tls_ca=self._trusted)
        self.service = Security(self._trusted, self.tls.tls_cert, self.tls.tls_key)
        self.next_service = self.renewed(service_id(DOMAIN, "all"), *LOCAL)

    def trust(self, *authorities: Path) -> None:
        """Whom everybody believes from now on."""
        bundle(self._trusted, *authorities)

    def caller(self, role: str, name: str) -> tuple[Security, Security]:
        """A caller's identity, and the same one by the new authority."""
        old = replace(self.old.caller(role, name), ca=self._trusted)
        return old, self.renewed(tenant_id(DOMAIN, "acme", role, name))

    def renewed(self, uri: str, *addresses: str) -> Security:
        """An identity by the new authority."""
        cert, key = self.new.issue(f"new-{len(list(self.new.folder.iterdir()))}", uri, addresses)
        return Security(self._trusted, cert, key)


async def test_a_new_authority_takes_over_and_no_stream_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, work = Change(tmp_path), Work()
    agent, next_agent = change.caller("agent", "gate")
    client, next_client = change.caller("client", "ann")
    operator, next_operator = change.caller("operator", "op")
    former, _ = change.caller("client", "former")
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(separate(tmp_path, change.tls))
        for name, value in {**mesh.environment(), **environment(agent)}.items():
            monkeypatch.setenv(name, value)
        await stack.enter_async_context(running(Host([work.agent], name="gate")))
        for name, value in environment(client).items():
            monkeypatch.setenv(name, value)
        mine = await stack.enter_async_context(connect())
        texts = [str(number) for number in range(CONTRACTS)]
        handles = [await mine.submit("gate.pass", {"name": text}) for text in texts]
        await until(lambda: len(work.began) == CONTRACTS, 10, "all of them run")
        before = await sessions(mesh, operator)
        assert not await reaches(mesh, next_client)

        # The overlap: both authorities are believed, then the services show the new one.
        change.trust(change.old.authority.path, change.new.path)
        assert await reaches(mesh, client)
        assert await reaches(mesh, next_client)
        install(change.next_service, change.service)
        for security in (client, next_client):
            assert await reaches(mesh, security)
        assert not await reaches(mesh, replace(client, ca=change.old.authority.path))

        # Agents and clients follow, and then the old one is over for new connections.
        install(next_agent, agent)
        install(next_client, client)
        assert (await mine.statistics()).agents == 1
        handles.append(await mine.submit("gate.pass", {"name": "late"}))
        change.trust(change.new.path)
        assert await reaches(mesh, client)
        assert not await reaches(mesh, former)
        assert await sessions(mesh, next_operator) == before

        work.open.set()
        async with asyncio.timeout(20):
            assert [await handle.result() for handle in handles] == [*texts, "late"]
        assert set(work.began.values()) == {1}


async def test_half_a_rotation_changes_nothing_until_the_rest_is_there(
    tmp_path: Path,
) -> None:
    pki = Pki.make(tmp_path / "pki")
    made = pki.authority.issue("next", service_id(DOMAIN, "all"), LOCAL)
    with capture_logs() as logs:
        await _half_a_rotation(tmp_path, pki, made)
    said = [str(entry.get("why")) for entry in logs]
    assert any("MUSTER_TLS_KEY is not the key" in each for each in said)
    assert any("MUSTER_TLS_CERT must name" in each for each in said)
    assert not [each for each in said if str(tmp_path) in each]


async def _half_a_rotation(folder: Path, pki: Pki, made: tuple[Path, Path]) -> None:
    client, cert, key = pki.caller("client"), pki.tls.tls_cert, pki.tls.tls_key
    assert cert is not None
    assert key is not None
    async with separate(folder, pki.tls) as mesh:
        shutil.copy(made[1], key)
        assert await reaches(mesh, client)
        cert.write_text("-----BEGIN CERTIFICATE-----\nnot yet")
        assert await reaches(mesh, client)
        shutil.copy(made[0], cert)
        assert await reaches(mesh, client)


async def test_a_channel_follows_its_files_and_what_runs_on_the_old_one_goes_on(
    tmp_path: Path,
) -> None:
    pki = Pki.make(tmp_path / "pki")
    client = pki.caller("client")
    async with separate(tmp_path, pki.tls) as mesh:
        channels = Channels(client)
        first = channels.to(mesh.scheduler)
        assert channels.to(mesh.scheduler) is first
        stream = SchedulerServiceStub(first).SubmitStream()
        await stream.wait_for_connection()
        assert client.cert is not None
        client.cert.write_text("not a certificate")
        assert channels.to(mesh.scheduler) is first
        install(pki.caller("client"), client)
        second = channels.to(mesh.scheduler)
        assert second is not first
        del first
        await SchedulerServiceStub(second).GetStatistics(GetStatisticsRequest())
        assert not stream.done()
        await stream.done_writing()
        assert [each async for each in stream] == []
        await channels.close()
