"""From `muster certs` to a call in the production profile, as a person goes about it."""

from __future__ import annotations

import re
import signal
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from muster.runtime import standard_protos
from muster.wire.channel import open_channel
from muster.wire.security import find_security
from tests.sources import ROOT
from tests.support.commands import Ended, Shell, shell_in
from tests.support.processes import until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]

AGENT = """
from muster.agent import Agent

agent = Agent("agent", kind="test")


@agent.capability("demo.up")
async def up(text: str) -> str:
    return text.upper()
"""


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        yield shell


def settings(ended: Ended) -> dict[str, dict[str, str]]:
    """What `muster certs` says is to be set, by kind of caller."""
    found: dict[str, dict[str, str]] = {}
    for block in ended.out.split("\n\n"):
        lines = dict(re.findall(r"^  export (\w+)=(\S+)$", block, re.MULTILINE))
        if lines:
            found[block.split()[0]] = lines
    return found


def be(shell: Shell, *told: Mapping[str, str]) -> None:
    for each in told:
        shell.environment.update(each)


@pytest.mark.parametrize("shape", [(), ("--separate",)])
async def test_what_muster_certs_prints_is_all_that_production_needs(
    shell: Shell, shape: tuple[str, ...]
) -> None:
    said = settings(await shell.ok("certs"))
    assert set(said) == {"service", "agent", "client", "operator"}
    be(shell, {"MUSTER_PROFILE": "production"})
    refused = await shell.run("up", "--port", "0", "--detach", *shape)
    assert refused.code != 0
    assert "MUSTER_TLS_CERT" in refused.err

    be(shell, said["service"])
    await shell.ok("up", "--port", "0", "--detach", *shape)
    (shell.folder / "agent.py").write_text(AGENT)
    be(shell, said["agent"])
    async with shell.started("agent", "run", "agent.py") as running:
        await running.says("connected")
        be(shell, said["client"])
        assert "HELLO" in (await shell.ok("call", "demo.up", "text=hello")).out
        assert (await shell.ok("agents", "-o", "json")).value
        be(shell, said["operator"])
        assert "serving" in (await shell.ok("status")).out
        called = await shell.run("call", "demo.up", "text=hello")
        assert (called.code, "role" in called.err) == (5, True)
        await _has_no_reflection(shell)
        running.signal(signal.SIGINT)
        await running.ended()
    be(shell, said["service"])
    await shell.ok("down")


async def _has_no_reflection(shell: Shell) -> None:
    address = shell.state.endpoints["scheduler"]
    async with open_channel(address, find_security(shell.environment), retries=False) as channel:
        for service in (standard_protos.REFLECTION_V1, standard_protos.REFLECTION_V1ALPHA):
            call: Any = channel.stream_stream(f"/{service}/ServerReflectionInfo")()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_fleet_beside_its_services_has_an_identity_of_its_own(shell: Shell) -> None:
    said = settings(await shell.ok("certs", "--service", "mesh", "--agent", "fleet"))
    said |= settings(await shell.ok("certs", "--client", "ann"))
    grants = shell.folder / "grants.yaml"
    grants.write_text(
        """
- {principals: [default/agent/fleet], offers: ["*"], hosts: ["*"], agents: ["*"]}
- {principals: [default/client/*], submits: ["*"]}
"""
    )
    fleet = {
        "MUSTER_FLEET_TLS_CERT": said["agent"]["MUSTER_TLS_CERT"],
        "MUSTER_FLEET_TLS_KEY": said["agent"]["MUSTER_TLS_KEY"],
        "MUSTER_GRANTS": str(grants),
    }
    be(shell, said["service"], fleet)
    path = str(ROOT / "agents" / "examples" / "fleet.yaml")
    await shell.ok("up", "--port", "0", "--detach", "--fleet", path)
    be(shell, said["client"])
    listed = (await shell.ok("agents", "-o", "json")).value
    assert len(listed) == 12
    be(shell, said["service"])


async def test_certificates_are_made_once_and_keys_are_private(shell: Shell) -> None:
    folder = shell.folder / "made"
    words = ("certs", str(folder), "--agent", "team", "--service", "east", "--host", "mesh.example")
    await shell.ok(*words, "--tenant", "acme", "--domain", "example.org", "--days", "7")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {
        f"{name}.{kind}"
        for name in ("ca", "agent.acme.team", "service.east")
        for kind in ("pem", "key")
    }
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.glob("*.key"))
    made = x509.load_pem_x509_certificate(before["service.east.pem"])
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://example.org/service/east"
    ]
    assert "mesh.example" in names.get_values_for_type(x509.DNSName)
    assert 6 <= (made.not_valid_after_utc - made.not_valid_before_utc).days <= 7

    again = await shell.run(*words, "--tenant", "acme", "--client", "ann")
    assert (again.code, "--force" in again.err) == (2, True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    await shell.ok(*words, "--tenant", "acme", "--force")
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in before if after[name] == before[name]} == {"ca.pem", "ca.key"}


@pytest.mark.parametrize(
    "words",
    [
        ("--agent", "../evil"),
        ("--agent", "a/b"),
        ("--tenant", "Acme"),
        ("--domain", "a/b"),
        ("--host", "a b\n"),
        ("--days", "0"),
    ],
)
async def test_names_that_are_none_are_refused(shell: Shell, words: tuple[str, ...]) -> None:
    ended = await shell.run("certs", str(shell.folder / "made"), *words)
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err


async def test_an_operator_runs_a_pool_whose_hosts_show_the_fleets_certificate(
    shell: Shell,
) -> None:
    said = settings(await shell.ok("certs", "--service", "mesh", "--agent", "fleet"))
    said |= settings(await shell.ok("certs", "--operator", "ops"))
    grants = shell.folder / "grants.yaml"
    grants.write_text(
        """
- {principals: [default/agent/fleet], offers: ["*"], hosts: ["demo-*"], agents: ["demo-*"]}
"""
    )
    be(shell, said["service"], {"MUSTER_GRANTS": str(grants), "MUSTER_PROFILE": "production"})
    await shell.ok("up", "--port", "0", "--detach")
    path = str(ROOT / "agents" / "examples" / "fleet.yaml")
    fleet = {
        "MUSTER_FLEET_TLS_CERT": said["agent"]["MUSTER_TLS_CERT"],
        "MUSTER_FLEET_TLS_KEY": said["agent"]["MUSTER_TLS_KEY"],
    }
    be(shell, said["operator"], fleet)
    async with shell.started("pool", path) as pool:
        await pool.says("demo: counter, waiter, boss")

        async def there() -> bool:
            return len((await shell.ok("agents", "-o", "json")).value) == 5

        await until(there, 40, "a host of each kind is there, with its share of the agents")
        pool.signal(signal.SIGTERM)
        assert (await pool.ended()).code == 0
