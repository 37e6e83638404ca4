"""Consul with ACLs that deny by default, over TLS: a token in the header, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from muster.agent import Agent, Host, connect
from muster.backends.consul.connection import Address
from muster.backends.consul.directory import ConsulDirectory
from muster.backends.directory_base import DirectoryError
from muster.model.directory import Entry, Put, TimeToLive
from muster.runtime.config import Listen, Role
from muster.servers.finding import PROGRAMS
from muster.servers.server import ServerProcess
from tests.support.found_meshes import consul, found_mesh, listed
from tests.support.identities import Pki, environment
from tests.support.meshes import running
from tests.support.processes import free_port, until
from tests.support.servers import prepared

MANAGEMENT = "5c0ffee0-0000-4000-8000-000000000001"
ENTRY = Entry("muster-test:1", "test", "somebody", TimeToLive())

# The least that Muster needs.
POLICY = """
service_prefix "muster-" { policy = "write" }
node_prefix "" { policy = "read" }
agent_prefix "" { policy = "read" }
"""


@dataclass(frozen=True)
class Secured:
    """A Consul that refuses whoever has no token, and speaks TLS at a port of its own."""

    process: ServerProcess
    tls_port: int
    ca_file: Path
    token: str

    @property
    def address(self) -> str:
        return self.process.server.address

    @property
    def url(self) -> str:
        return f"consuls://127.0.0.1:{self.tls_port}"

    def directory(self, **more: object) -> ConsulDirectory:
        told = Address("127.0.0.1", self.tls_port, True, str(self.ca_file), self.token)
        return ConsulDirectory(replace(told, **more))  # type: ignore[arg-type]


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Certificates as Consul itself makes them: the authority's, the server's, and its key."""
    program = str(PROGRAMS["consul"].find())
    for words in (
        ("tls", "ca", "create"),
        ("tls", "cert", "create", "-server", "-additional-ipaddress", "127.0.0.1"),
    ):
        subprocess.run((program, *words), cwd=folder, check=True, capture_output=True, timeout=30)
    server = folder / "dc1-server-consul-0"
    return (
        folder / "consul-agent-ca.pem",
        server.with_suffix(".pem"),
        folder / f"{server.name}-key.pem",
    )


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    server = prepared("consul", tmp_path)
    ca_file, certificate, key = await asyncio.to_thread(make_certificates, tmp_path)
    file = server.folder / "consul.json"
    told = json.loads(file.read_text())
    told["ports"]["https"] = tls_port = free_port()
    told["tls"] = {"https": {"cert_file": str(certificate), "key_file": str(key)}}
    told["acl"] = {
        "enabled": True,
        "default_policy": "deny",
        "tokens": {"initial_management": MANAGEMENT, "agent": MANAGEMENT},
    }
    file.write_text(json.dumps(told))
    async with ServerProcess(server) as process:

        def ask(path: str, body: object) -> dict[str, str]:
            answer = consul(server.address, path, MANAGEMENT, "PUT", json.dumps(body))
            assert isinstance(answer, dict)
            return answer

        async def knows_us() -> bool:
            try:
                await asyncio.to_thread(consul, server.address, "acl/token/self", MANAGEMENT)
            except AssertionError:
                return False
            return True

        await until(knows_us, 10, "Consul has taken its first token over")
        await asyncio.to_thread(ask, "acl/policy", {"Name": "muster", "Rules": POLICY})
        made = await asyncio.to_thread(ask, "acl/token", {"Policies": [{"Name": "muster"}]})
        yield Secured(process, tls_port, ca_file, made["SecretID"])


async def test_a_mesh_registers_with_its_token_over_tls_and_never_shows_it(
    secured: Secured,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(secured.token + "\n")
    async with found_mesh(
        tmp_path / "mesh",
        secured.url,
        directory_ca_file=str(secured.ca_file),
        directory_token=f"file:{token_file}",
    ) as mesh:
        assert secured.token not in repr(mesh.config(Role.SCHEDULER, "scheduler-1"))
        for name in mesh.servers:

            async def passes(name: str = name) -> bool:
                role = name.partition("-")[0]
                found = await asyncio.to_thread(listed, secured.address, role, MANAGEMENT)
                return found == {name: "passing"}

            await until(passes, 10, f"{name} passes")
        monkeypatch.setenv("MUSTER_DIRECTORY_TOKEN", f"file:{token_file}")
        monkeypatch.setenv("MUSTER_DIRECTORY_CA_FILE", str(secured.ca_file))
        async with connect(secured.url) as client:
            assert (await client.statistics()).accepted == 0
    said = capsys.readouterr()
    assert "serving" in said.out + said.err
    assert secured.token not in said.out + said.err


async def test_without_the_token_or_the_authority_it_is_an_error_that_says_so(
    secured: Secured,
) -> None:
    for more, why in (
        ({"token": ""}, "refuses: Permission denied"),
        ({"token": "5c0ffee0-0000-4000-8000-00000000dead"}, "refuses: .*ACL not found"),
        ({"ca_file": ""}, "no TLS with Consul at 127.0.0.1"),
        ({"tls": False}, "does not answer|fails"),
    ):
        async with secured.directory(**more) as directory:
            with pytest.raises(DirectoryError, match=why) as raised:
                await directory.apply([Put(ENTRY)])
            assert "5c0ffee0" not in str(raised.value)
            assert secured.token not in str(raised.value)


async def test_a_token_that_is_replaced_in_its_file_is_used_from_then_on(
    secured: Secured, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("5c0ffee0-0000-4000-8000-00000000dead")
    async with secured.directory(token=f"file:{file}") as directory:
        with pytest.raises(DirectoryError):
            await directory.apply([Put(ENTRY)])
        file.write_text(secured.token)
        with pytest.raises(DirectoryError):
            await directory.apply([Put(ENTRY)])  # with the old one, after which the file is read
        await directory.apply([Put(ENTRY)])
        assert await directory.read("somebody") == {ENTRY.id: ENTRY.digest}


async def test_the_environment_of_other_programs_changes_nothing(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "somebody else's")
    monkeypatch.setenv("CONSUL_HTTP_SSL", "false")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with secured.directory() as directory:
        await directory.apply([Put(ENTRY)])
        assert await directory.read("somebody") == {ENTRY.id: ENTRY.digest}


async def test_services_with_tls_pass_where_they_have_a_port_for_probes(
    consul_process: ServerProcess, tmp_path: Path
) -> None:
    """Consul has no certificate that they would let in."""
    pki = Pki.make(tmp_path)
    listen = Listen(grpc_port=0, http_port=None, health_port=0, drain_seconds=0.5)
    url, address = consul_process.server.url, consul_process.server.address
    async with found_mesh(tmp_path / "mesh", url, tls=pki.tls, listen=listen) as mesh:
        for name in mesh.servers:

            async def passes(name: str = name) -> bool:
                found = await asyncio.to_thread(listed, address, name.partition("-")[0])
                return found == {name: "passing"}

            await until(passes, 10, f"{name} passes")


async def test_services_with_tls_pass_where_consul_has_a_certificate_of_the_mesh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki = Pki.make(tmp_path)
    consul_own = pki.service("consul")
    server = prepared("consul", tmp_path)
    file = server.folder / "consul.json"
    told = json.loads(file.read_text())
    told["enable_agent_tls_for_checks"] = True
    told["tls"] = {
        "defaults": {
            "ca_file": str(consul_own.ca),
            "cert_file": str(consul_own.cert),
            "key_file": str(consul_own.key),
        }
    }
    file.write_text(json.dumps(told))
    async with (
        ServerProcess(server) as process,
        found_mesh(tmp_path / "mesh", process.server.url, tls=pki.tls) as mesh,
    ):
        for name in mesh.servers:

            async def passes(name: str = name) -> bool:
                found = await asyncio.to_thread(listed, server.address, name.partition("-")[0])
                return found == {name: "passing"}

            await until(passes, 10, f"{name} passes")
        for variable, value in environment(pki.caller("agent")).items():
            monkeypatch.setenv(variable, value)
        agent = Agent("ann.idle", kind="test")

        @agent.capability("test.idle")
        async def idle() -> None: ...

        host = Host([agent], target=process.server.url, name="ann", leave_seconds=1.0)
        async with running(host):

            async def there() -> bool:
                return await asyncio.to_thread(listed, server.address, "agent") != {}

            await until(there, 10, "the agent is listed")
