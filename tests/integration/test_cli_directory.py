"""`muster status` and the directory; `muster up --with consul`, with TLS and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from muster.servers.server import ServerProcess
from tests.support.commands import Shell, shell_in
from tests.support.found_meshes import listed
from tests.support.identities import Pki, environment
from tests.support.processes import until
from tests.support.servers import require

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]

SECONDS = 20.0
SERVICES = ("scheduler", "registry", "executor")
ALL_PASS = {kind: {"PASSING": 1} for kind in SERVICES}


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        yield shell


async def directory(shell: Shell, *options: str) -> Any:
    """What `muster status` says of it."""
    return (await shell.run("status", "-o", "json", *options)).value["directory"]


async def services_pass(shell: Shell, *options: str) -> None:
    """Waits until it lists the services, each as passing."""

    async def they_do() -> bool:
        return bool((await directory(shell, *options))["kinds"] == ALL_PASS)

    await until(they_do, SECONDS, "the services pass")


async def test_status_tells_what_the_directory_lists(shell: Shell) -> None:
    require("consul")
    await shell.ok("up", "--detach", "--port", "0", "--with", "consul")
    await services_pass(shell)
    told = await directory(shell)
    assert (told["address"], told["answers"]) == (shell.state.backends["consul"], True)
    line = "directory: 1 scheduler, 1 registry, 1 executor passing\n"
    assert line in (await shell.ok("status")).out


async def test_status_without_a_directory_says_nothing_of_one(shell: Shell) -> None:
    await shell.ok("up", "--detach", "--port", "0")
    assert await directory(shell) is None
    assert "directory:" not in (await shell.ok("status")).out


async def test_a_directory_that_is_away_is_told_and_is_no_fault_of_the_mesh(
    shell: Shell, consul_process: ServerProcess
) -> None:
    shell.environment["MUSTER_DIRECTORY"] = consul_process.server.url
    await shell.ok("up", "--detach", "--port", "0")
    await services_pass(shell)
    await services_pass(shell, "--address", consul_process.server.url)
    address = shell.state.endpoints["scheduler"]
    await services_pass(shell, "--address", address)
    await consul_process.kill()
    told = await directory(shell)
    assert told == {"address": consul_process.server.address, "answers": False, "kinds": {}}
    status = await shell.ok("status")  # the directory is a hint: everything serves
    assert f"directory: {consul_process.server.address} does not tell: " in status.out


async def test_consul_shows_the_services_certificate_where_they_want_one(
    shell: Shell, tmp_path: Path
) -> None:
    """Its probes came without, and every service was critical."""
    require("consul")
    pki = Pki.make(tmp_path / "pki")
    shell.environment |= {
        "MUSTER_TLS_CA": str(pki.tls.tls_ca),
        "MUSTER_TLS_CERT": str(pki.tls.tls_cert),
        "MUSTER_TLS_KEY": str(pki.tls.tls_key),
    }
    await shell.ok("up", "--detach", "--port", "0", "--separate", "--with", "consul")
    consul = shell.state.backends["consul"]
    for kind in SERVICES:

        async def passes(kind: str = kind) -> bool:
            return list((await asyncio.to_thread(listed, consul, kind)).values()) == ["passing"]

        await until(passes, SECONDS, f"the {kind} passes")
    shell.environment |= environment(pki.caller("client"))
    await services_pass(shell)
