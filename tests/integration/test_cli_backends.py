"""`muster up --with …`: the servers a mesh stands on run with it, come back, and go with it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from muster.servers.known import KINDS
from muster.servers.server import ServerProcess
from muster.supervisor.state import RunningProcess
from tests.support.commands import Shell, shell_in
from tests.support.processes import until
from tests.support.servers import psql, require

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("processes")]

SECONDS = 40.0
ALL = ",".join(KINDS)


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        yield shell


def processes(shell: Shell, *roles: str) -> dict[str, RunningProcess]:
    return {each.name: each for each in shell.state.processes if each.role in roles}


async def backends(shell: Shell) -> dict[str, Any]:
    """What `muster status` says of them."""
    found = (await shell.run("status", "-o", "json")).value["backends"]
    assert isinstance(found, dict)
    return found


def family(*pids: int) -> list[psutil.Process]:
    """Processes, and all that they have started."""
    found = [psutil.Process(pid) for pid in pids]
    return [each for one in found for each in (one, *one.children(recursive=True))]


def running(found: Collection[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that has ended, and that nobody has reaped yet, does not."""
    left = []
    for each in found:
        with suppress(psutil.NoSuchProcess):
            if each.status() != psutil.STATUS_ZOMBIE:
                left.append(each)
    return left


async def gone(found: Collection[psutil.Process]) -> None:
    """Waits until none of them runs."""
    await until(lambda: not running(found), SECONDS, f"{found} are gone")


def environment_of(pid: int) -> dict[str, str]:
    return psutil.Process(pid).environ()


async def test_they_run_with_the_mesh_and_are_killed_and_come_back_and_go_with_it(
    shell: Shell,
) -> None:
    require(*KINDS)
    await shell.ok("up", "--detach", "--port", "0", "--with", ALL)
    before = processes(shell, "backend")
    assert set(before) == set(KINDS)
    told = environment_of(processes(shell, "service")["mesh"].pid)
    shown = await backends(shell)
    for name, kind in KINDS.items():
        assert shown[name]["state"] == "SERVING"
        assert shown[name]["pid"] == before[name].pid
        if kind.variable is not None:
            assert told[kind.variable].partition("://")[0] == kind.schemes[0]
            assert kind.elsewhere(told) == shown[name]["address"]
    psql(told["MUSTER_LEDGER"], "CREATE TABLE kept AS SELECT 7 AS value")

    dead = [psutil.Process(each.pid) for each in before.values()]
    for each in before.values():
        each.identity.send(signal.SIGKILL)
    await gone(dead)
    await until(lambda: serving_anew(shell, before), SECONDS, "all serve again")
    again = await backends(shell)
    assert {name: each["address"] for name, each in again.items()} == {
        name: each["address"] for name, each in shown.items()
    }
    assert all(again[name]["since"] > shown[name]["since"] for name in KINDS)
    assert psql(told["MUSTER_LEDGER"], "SELECT value FROM kept") == "7"
    for_people = (await shell.ok("status")).out
    assert f"postgres  serving  {shown['postgres']['address']}" in for_people

    everything = family(shell.state.supervisor.pid, *(each.pid for each in shell.state.processes))
    assert "nothing was left running" in (await shell.ok("down")).err
    assert running(everything) == []


async def serving_anew(shell: Shell, before: dict[str, RunningProcess]) -> bool:
    found = await backends(shell)
    return all(
        each["state"] == "SERVING" and each["pid"] not in (None, before[name].pid)
        for name, each in found.items()
    )


async def test_a_restart_of_the_mesh_finds_their_data(shell: Shell) -> None:
    require("postgres")
    urls = []
    for statement in ("CREATE TABLE kept AS SELECT 7 AS value", "INSERT INTO kept VALUES (8)"):
        await shell.ok("up", "--detach", "--port", "0", "--separate", "--with", "postgres")
        services = processes(shell, "service")
        assert set(services) == {"scheduler", "registry", "executor"}
        urls.append(environment_of(services["scheduler"].pid)["MUSTER_LEDGER"])
        psql(urls[-1], statement)
        await shell.ok("down")
    assert urls[0] != urls[1], "they were at other ports"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of a parent's end")
async def test_a_killed_supervisor_leaves_none_behind(shell: Shell) -> None:
    require(*KINDS)
    async with shell.started("up", "--port", "0", "--with", ALL) as up:
        await up.says("serving at 127.0.0.1")
        everything = family(*(each.pid for each in shell.state.processes))
        shell.state.supervisor.send(signal.SIGKILL)
        await gone(everything)


async def test_one_that_outlives_a_killed_supervisor_is_ended_by_down(shell: Shell) -> None:
    """Frozen, it does not hear that it is to end: neither from the kernel nor from us."""
    require("postgres")
    async with shell.started("up", "--port", "0", "--with", "postgres") as up:
        await up.says("serving at 127.0.0.1")
        postgres = processes(shell, "backend")["postgres"]
        postgres.identity.send(signal.SIGSTOP)
        left = family(postgres.pid)
        services = [psutil.Process(each.pid) for each in processes(shell, "service").values()]
        shell.state.supervisor.send(signal.SIGKILL)
        await gone(services)
    assert postgres.identity.is_running
    ended = await shell.ok("down")
    assert f"postgres (pid {postgres.pid}) did not end in" in ended.err
    assert "nothing was left running" in ended.err
    await gone(left)


async def test_a_signal_stops_them_after_the_services(shell: Shell) -> None:
    require("nats")
    async with shell.started("up", "--port", "0", "--with", "nats") as up:
        await up.says("serving at 127.0.0.1")
        found = family(*(each.pid for each in shell.state.processes))
        assert len(found) == 2
        up.signal(signal.SIGINT)
        assert (await up.ended()).code == 0
    assert running(found) == []
    log = (shell.data_dir / "logs" / "nats.log").read_text()
    assert "Server Exiting" in log


async def test_one_that_the_environment_names_is_used_and_left_running(
    shell: Shell, nats_process: ServerProcess
) -> None:
    shell.environment["MUSTER_BUS"] = nats_process.server.url
    await shell.ok("up", "--detach", "--port", "0", "--with", "nats")
    assert processes(shell, "backend") == {}
    shown = await backends(shell)
    assert shown["nats"]["address"] == nats_process.server.address
    assert (shown["nats"]["state"], shown["nats"]["pid"]) == ("SERVING", None)
    assert "elsewhere" in (await shell.ok("status")).out
    await nats_process.kill()
    status = await shell.run("status", "-o", "json")
    assert (status.code, status.value["backends"]["nats"]["state"]) == (1, "NOT_THERE")
    await nats_process.start()
    await shell.ok("status")
    await shell.ok("down")
    assert nats_process.pid is not None


async def test_one_that_is_missing_is_named_with_the_way_to_get_it(shell: Shell) -> None:
    shell.environment["XDG_CACHE_HOME"] = str(shell.folder / "empty")
    shell.environment["PATH"] = os.defpath
    for command in (["up"], ["up", "--detach"]):
        ended = await shell.run(*command, "--port", "0", "--with", "consul")
        assert ended.code == 2
        assert "make backends" in ended.err
    assert "nothing is running" in (await shell.ok("down")).err


async def test_one_that_cannot_start_says_why(shell: Shell) -> None:
    require("nats")
    (shell.data_dir / "nats").mkdir(parents=True)
    (shell.data_dir / "nats" / "jetstream").write_text("this is no folder")
    ended = await shell.run("up", "--port", "0", "--with", "nats")
    assert ended.code == 1
    assert "nats ended with code 1" in ended.err
    assert "its log: " in ended.err
    assert not (shell.data_dir / "mesh.json").exists()


async def test_several_of_each_service_need_a_ledger_that_they_can_share(shell: Shell) -> None:
    ended = await shell.run("up", "--replicas", "2", "--with", "nats")
    assert ended.code == 2
    assert "--with postgres" in ended.err
