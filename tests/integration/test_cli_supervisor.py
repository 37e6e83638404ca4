"""The supervisor behind `muster up`: it restarts what dies, and leaves nothing behind."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from muster.supervisor.identity import Identity, identify
from muster.supervisor.remains import end_processes
from muster.supervisor.state import RunningProcess, write_state
from tests.sources import ROOT
from tests.support.commands import Shell, shell_in
from tests.support.processes import free_port, until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]

FLEET = ROOT / "agents" / "examples" / "fleet.yaml"


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        yield shell


@pytest.fixture(autouse=True)
def hangups_count() -> Iterator[None]:
    """What is ignored stays ignored in what we start: the tests may run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def process_named(shell: Shell, name: str) -> RunningProcess:
    (found,) = [each for each in shell.state.processes if each.name == name]
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_everything(shell: Shell, number: signal.Signals) -> None:
    async with shell.started("up", "--port", "0", "--fleet", str(FLEET)) as up:
        assert "with 12 agents" in await up.says("serving at 127.0.0.1")
        processes = shell.identities()
        assert len(processes) == 5
        up.signal(number)
        ended = await up.ended()
    assert ended.code == 0
    assert "nothing was left running" in ended.err
    assert not any(each.is_running for each in processes)
    assert not (shell.data_dir / "mesh.json").exists()


async def test_a_signal_while_it_starts_stops_it_too(shell: Shell) -> None:
    async with shell.started("up", "--port", "0", "--separate") as up:
        await until_written(shell)
        processes = shell.identities()
        up.signal(signal.SIGINT)
        ended = await up.ended()
    assert ended.code == 130
    assert not any(each.is_running for each in processes)


async def until_written(shell: Shell) -> None:
    await until((shell.data_dir / "mesh.json").exists, 20, "mesh.json is there")


async def test_a_killed_supervisor_leaves_nothing_behind(shell: Shell) -> None:
    async with shell.started("up", "--port", "0", "--separate", "--fleet", str(FLEET)) as up:
        await up.says("serving at 127.0.0.1")
        # Starts a worker process, which must go too.
        assert (await shell.ok("call", "demo.count", "text=a")).value == {"a": 1}
        supervisor, *others = shell.identities()
        assert len(others) == 6
        groups = [each.pid for each in others]
        supervisor.send(signal.SIGKILL)
        await shell.gone(supervisor, *others)
    assert members_of(groups) == []
    status = await shell.run("status", "-a", shell.state.endpoints["scheduler"])
    assert status.code == 3
    # What it has left written down does not hinder the next.
    await shell.ok("up", "--detach", "--port", "0")


def members_of(groups: list[int]) -> list[int]:
    """The processes of these groups that still run."""
    found = subprocess.run(
        ["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, group, stat in rows if int(group) in groups and stat[0] != "Z"]


async def test_a_mesh_that_comes_at_once_ends_what_is_left_of_a_killed_one(shell: Shell) -> None:
    port = free_port()
    await shell.ok("up", "--detach", "--port", str(port))
    supervisor, service = shell.identities()
    # Stopped, it cannot notice that it is alone, and keeps the port.
    service.send(signal.SIGSTOP)
    supervisor.send(signal.SIGKILL)
    await shell.gone(supervisor)
    up = await shell.ok("up", "--detach", "--port", str(port))
    assert "ending what is left of it: mesh" in up.err
    assert "did not end in 8 s: killing it" in up.err
    assert not service.is_running
    await shell.ok("status")


async def test_what_dies_is_started_again_and_that_is_said(shell: Shell) -> None:
    async with shell.started("up", "--port", "0", "--separate", "--fleet", str(FLEET)) as up:
        await up.says("serving at 127.0.0.1")
        host = process_named(shell, "demo-1")
        host.identity.send(signal.SIGKILL)
        assert "starting it again" in await up.says("host demo-1 was ended by SIGKILL")
        service = process_named(shell, "scheduler")
        service.identity.send(signal.SIGKILL)
        assert "starting it again" in await up.says("scheduler was ended by SIGKILL")
        await up.says("scheduler serves again")
        assert process_named(shell, "scheduler").pid != service.pid
        assert process_named(shell, "demo-1").pid != host.pid
        assert (await shell.ok("call", "demo.both", "text=a b")).value == 2
        up.signal(signal.SIGINT)
        assert (await up.ended()).code == 0


async def test_a_second_mesh_on_one_data_folder_is_refused(shell: Shell) -> None:
    await shell.ok("up", "--detach", "--port", "0")
    for detach in ([], ["--detach"]):
        second = await shell.run("up", "--port", "0", *detach)
        assert second.code == 5
        assert f"a mesh runs already at {shell.state.endpoints['scheduler']}" in second.err
        assert "muster down" in second.err
    await shell.ok("status")


async def test_a_port_in_use_is_named_with_the_way_out(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for detach in ([], ["--detach"]):
            ended = await shell.run("up", "--port", str(port), *detach)
            assert ended.code == 2
            assert f"port {port} is in use" in ended.err
            assert "--port" in ended.err


async def test_a_mesh_that_cannot_run_says_why_and_leaves_nothing(shell: Shell) -> None:
    shell.environment["MUSTER_LOG_LEVEL"] = "shouting"
    for detach in ([], ["--detach"]):
        ended = await shell.run("up", "--port", "0", *detach)
        assert ended.code == 2
        assert "MUSTER_LOG_LEVEL" in ended.err
        assert not (shell.data_dir / "mesh.json").exists()


async def test_a_fleet_that_cannot_run_says_why_and_leaves_nothing(shell: Shell) -> None:
    fleet = shell.folder / "fleet.yaml"
    fleet.write_text("kinds:\n  a:\n    count: none\n    capabilities: my.agents:agent\n")
    wrong = await shell.run("up", "--port", "0", "--fleet", "fleet.yaml")
    assert wrong.code == 2
    assert "fleet.yaml:3: kinds.a.count must be a whole number" in wrong.err
    fleet.write_text("kinds: {a: {capabilities: 'no_such_module:agent'}}")
    for detach in ([], ["--detach"]):
        ended = await shell.run("up", "--port", "0", "--fleet", "fleet.yaml", *detach)
        assert ended.code == 2
        assert "there is no module no_such_module" in ended.err
        assert not (shell.data_dir / "mesh.json").exists()


def started(code: str) -> subprocess.Popen[bytes]:
    """A process that runs this, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )


async def test_down_never_touches_a_process_that_only_has_the_number(shell: Shell) -> None:
    await shell.ok("up", "--detach", "--port", "0")
    state = shell.state
    await shell.ok("down")
    innocent = started("import signal; signal.pause()")
    try:
        stale = Identity(innocent.pid, "before")
        process = RunningProcess("mesh", "service", stale.pid, stale.start, "log")
        write_state(shell.data_dir, replace(state, supervisor=stale, processes=(process,)))
        assert "nothing is running" in (await shell.ok("down")).err
        await shell.ok("up", "--detach", "--port", "0")
        await shell.ok("down")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.communicate()


async def test_whoever_does_not_end_in_time_is_killed_and_that_is_said() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)\n"
    stubborn = started(f"{code}while True: signal.pause()")
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    identity = identify(stubborn.pid)
    assert identity is not None
    said: list[str] = []
    end_processes([("stubborn", identity)], 0.1, said.append)
    assert not identity.is_running
    assert stubborn.wait() == -signal.SIGKILL
    assert said == [f"stubborn (pid {stubborn.pid}) did not end in 0 s: killing it"]
    stubborn.stdout.close()


def cpu_seconds() -> float:
    """What ended children have computed: what they take where nobody else is busy."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_comes_at_once() -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    program = (
        "import sys, muster.cli\n"
        "sys.argv = ['muster', '--help']\n"
        "try: muster.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'grpc', 'google.protobuf', 'rich', 'yaml', 'pydantic', 'asyncio'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))\n"
    )
    times = []
    for _ in range(3):
        before = cpu_seconds()
        ended = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        times.append(cpu_seconds() - before)
        assert "Start a mesh on this machine." in ended.stdout
        assert ended.stderr == "", "help imports what it does not need"
    assert min(times) < 0.3
