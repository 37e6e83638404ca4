"""Certificates, keys and authorities are replaced while everything runs."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
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


async def test_a_new_authority_takes_over_and_no_stream_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Pki.make(tmp_path / "old")
    new = make_authority(tmp_path / "new", DOMAIN)
    trusted = tmp_path / "trusted.pem"
    bundle(trusted, old.authority.path)
    tls = replace(old.tls, tls_ca=trusted)
    served = Security(trusted, tls.tls_cert, tls.tls_key)

    def issued(uri: str, *addresses: str) -> Security:
        cert, key = new.issue(f"new-{len(list(new.folder.iterdir()))}", uri, addresses)
        return Security(trusted, cert, key)

    agent, client, operator = (
        replace(old.caller(role, name), ca=trusted)
        for role, name in (("agent", "gate"), ("client", "ann"), ("operator", "op"))
    )
    next_client = issued(tenant_id(DOMAIN, "acme", "client", "ann"))
    next_agent = issued(tenant_id(DOMAIN, "acme", "agent", "gate"))
    next_service = issued(service_id(DOMAIN, "all"), *LOCAL)
    work = Work()
    async with separate(tmp_path, tls) as mesh:
        for name, value in {**mesh.environment(), **environment(agent)}.items():
            monkeypatch.setenv(name, value)
        async with running(Host([work.agent], name="gate")):
            for name, value in environment(client).items():
                monkeypatch.setenv(name, value)
            async with connect() as mine:
                handles = [
                    await mine.submit("gate.pass", {"name": str(number)})
                    for number in range(CONTRACTS)
                ]
                await until(lambda: _all_began(work), 10, "all of them run")
                before = await sessions(mesh, operator)
                assert not await reaches(mesh, next_client)

                # The overlap: both authorities are believed, then the services show the new one.
                bundle(trusted, old.authority.path, new.path)
                assert await reaches(mesh, client)
                assert await reaches(mesh, next_client)
                install(next_service, served)
                for security in (client, next_client):
                    assert await reaches(mesh, security)
                only_old = replace(client, ca=old.authority.path)
                assert not await reaches(mesh, only_old)  # it is the new one that is shown

                # Agents and clients follow.
                install(next_agent, agent)
                install(next_client, client)
                old_client = replace(old.caller("client", "former"), ca=trusted)
                assert (await mine.statistics()).agents == 1
                late = await mine.submit("gate.pass", {"name": "late"})

                # The old one is over, for new connections.
                bundle(trusted, new.path)
                assert await reaches(mesh, client)
                assert not await reaches(mesh, old_client)
                next_operator = issued(tenant_id(DOMAIN, "acme", "operator", "op"))
                assert await sessions(mesh, next_operator) == before

                work.open.set()
                async with asyncio.timeout(20):
                    results = [await handle.result() for handle in (*handles, late)]
                assert results == [*map(str, range(CONTRACTS)), "late"]
        assert set(work.began.values()) == {1}


async def _all_began(work: Work) -> bool:
    return len(work.began) == CONTRACTS


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
