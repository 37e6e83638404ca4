"""`muster pool`: hosts come with the demand, drain before they leave, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from muster.supervisor.pools import POOLS
from tests.support.commands import Command, Shell, shell_in
from tests.support.processes import until
from tests.support.ray_cluster import require_ray

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("processes")]

SECONDS = 60.0

AGENTS = """
import asyncio
from pathlib import Path

from muster.agent import Agent

worker = Agent("worker")

@worker.capability("pool.wait")
async def wait(file: str) -> str:
    while not Path(file).exists():
        await asyncio.sleep(0.05)
    return "done"
"""
FLEET = """
name: demo
hosts: 2
kinds:
  worker:
    count: 4
    capabilities: agents.py:worker
"""


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        (tmp_path / "agents.py").write_text(AGENTS)
        (tmp_path / "fleet.yaml").write_text(FLEET)
        await shell.ok("up", "--detach", "--port", "0")
        yield shell


async def hosts(shell: Shell) -> list[str]:
    """Every agent's host, as the registry has it."""
    agents = (await shell.ok("agents", "-o", "json", "-n", "0")).value
    return [agent["host"] for agent in agents]


async def submitted(shell: Shell, gate: Path, count: int) -> list[str]:
    """Contracts that end when the gate is there."""
    request = json.dumps({"file": str(gate)})
    return [
        (await shell.ok("call", "pool.wait", request, "--no-wait")).out.strip()
        for _ in range(count)
    ]


async def finished(shell: Shell, contracts: list[str]) -> set[str]:
    """Their agents, once all have succeeded with one attempt."""
    agents = set()
    for contract in contracts:
        ended = (await shell.ok("contracts", "show", contract, "-o", "json")).value
        assert ended["state"] == "CONTRACT_STATE_SUCCEEDED", ended
        assert len(ended["attempts"]) == 1
        agents.add(ended["attempts"][0]["agent"])
    return agents


def processes_of(pid: int) -> list[psutil.Process]:
    """A process with everything that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


async def until_gone(processes: list[psutil.Process]) -> None:
    await until(
        lambda: not [p for p in processes if p.is_running() and p.status() != "zombie"],
        SECONDS,
        "nothing is left running",
    )


async def ended_well(pool: Command) -> str:
    processes = processes_of(pool.pid)
    pool.signal(signal.SIGTERM)
    ended = await pool.ended()
    assert ended.code == 0, ended
    assert "nothing was left running" in ended.err
    await until_gone(processes)
    return ended.err


async def test_hosts_come_with_the_demand_and_drain_before_they_leave(
    shell: Shell, tmp_path: Path
) -> None:
    options = ("--max", "3", "--calm", "2s", "--wait", "0.2s")
    async with shell.started("pool", "fleet.yaml", *options) as pool:
        await pool.says("demo: worker; 1 to 3 hosts each")
        await shell_has(shell, ["demo-worker-1"] * 2)
        gate, later = tmp_path / "gate", tmp_path / "later"
        contracts = await submitted(shell, gate, 5)
        await pool.says("→ 3,")
        await shell_has(shell, [f"demo-worker-{n}" for n in (1, 1, 2, 2, 3, 3)])
        # One goes on when the others have ended. Its host is not idle; even if it were the one to
        # leave, it would finish first.
        gate.touch()
        (last,) = await submitted(shell, later, 1)
        await pool.says("→ 1,")
        later.touch()
        agents = await until_finished(shell, [*contracts, last])
        assert agents <= {f"demo-worker-{n}" for n in range(1, 7)}
        await until(lambda: hosts_are(shell, 1), SECONDS, "one host is left")
        await ended_well(pool)
    assert await hosts(shell) == []


async def hosts_are(shell: Shell, count: int) -> bool:
    return len(set(await hosts(shell))) == count


async def shell_has(shell: Shell, wanted: list[str]) -> None:
    async def there() -> bool:
        return sorted(await hosts(shell)) == wanted

    await until(there, SECONDS, f"there are {wanted}")


async def until_finished(shell: Shell, contracts: list[str]) -> set[str]:
    async def none_open() -> bool:
        states = [f"--state={state}" for state in ("queued", "leased", "running")]
        return not (await shell.ok("contracts", "list", *states, "-o", "json")).value

    await until(none_open, SECONDS, "everything has ended")
    return await finished(shell, contracts)


async def test_the_last_host_may_leave_too_and_the_next_contract_brings_one(
    shell: Shell, tmp_path: Path
) -> None:
    async with shell.started("pool", "fleet.yaml", "--min", "0", "--calm", "1s") as pool:
        await pool.says("hosts 1 → 0,")
        await until(lambda: hosts_are(shell, 0), SECONDS, "nobody is there")
        (gate := tmp_path / "gate").touch()
        called = await shell.ok("call", "pool.wait", json.dumps({"file": str(gate)}))
        assert called.value == "done"
        await ended_well(pool)


@pytest.mark.parametrize("kind", POOLS)
async def test_a_pool_that_is_told_to_stop_lets_hosts_finish_what_they_hold(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    if kind == "ray":
        require_ray()
    gate = tmp_path / "gate"
    async with shell.started("pool", "fleet.yaml", "--pool", kind, "--name", "east") as pool:
        await shell_has(shell, ["east-worker-1"] * 2)
        async with shell.started("call", "pool.wait", json.dumps({"file": str(gate)})) as call:
            await until(lambda: runs(shell), SECONDS, "it runs")
            pool.signal(signal.SIGTERM)
            await pool.says("every host finishes what it holds")
            gate.touch()
            assert (await call.ended()).value == "done"
        assert (await pool.ended()).code == 0


async def runs(shell: Shell) -> bool:
    listed = (await shell.ok("contracts", "list", "--state", "running", "-o", "json")).value
    return len(listed) == 1


async def test_a_host_that_is_killed_is_started_again(shell: Shell) -> None:
    async with shell.started("pool", "fleet.yaml") as pool:
        await shell_has(shell, ["demo-worker-1"] * 2)
        (host,) = [
            each for each in processes_of(pool.pid) if "demo-worker-1" in " ".join(each.cmdline())
        ]
        host.kill()
        assert "starting it again" in await pool.says("host demo-worker-1 was ended by SIGKILL")
        await shell_has(shell, ["demo-worker-1"] * 2)
        await ended_well(pool)


async def test_what_cannot_be_is_said_before_anything_starts(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("kinds: {a: {capabilities: 'no_such_module:agent'}}")
    for words, code, said in (
        (("fleet.yaml", "--min", "3"), 2, "there cannot be 3 to 2 hosts"),
        (("fleet.yaml", "--calm", "soon"), 2, "--calm: 'soon' is no duration"),
        (("fleet.yaml", "--name", "a.b"), 2, "--name must be"),
        (("nothing.yaml",), 2, "nothing.yaml cannot be read"),
        (("bad.yaml",), 2, "there is no module no_such_module"),
        (("fleet.yaml", "-a", "127.0.0.1:1"), 3, "no mesh answers"),
    ):
        ended = await shell.run("pool", *words)
        assert ended.code == code, ended
        assert said in ended.err


@pytest.mark.timeout(300)
async def test_the_same_on_ray_with_nothing_left_behind(shell: Shell, tmp_path: Path) -> None:
    require_ray()
    options = ("--pool", "ray", "--max", "2", "--calm", "2s", "--wait", "0.2s")
    async with shell.started("pool", "fleet.yaml", *options) as pool:
        await pool.says("demo: worker; 1 to 2 hosts each")
        await shell_has(shell, ["demo-worker-1"] * 2)
        gate = tmp_path / "gate"
        contracts = await submitted(shell, gate, 4)
        await pool.says("hosts 1 → 2,")
        await shell_has(shell, [f"demo-worker-{n}" for n in (1, 1, 2, 2)])
        gate.touch()
        assert len(await until_finished(shell, contracts)) == 4
        await until(lambda: hosts_are(shell, 1), SECONDS, "one host is left")
        await ended_well(pool)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", POOLS)
async def test_a_pool_that_is_killed_leaves_nothing_behind(shell: Shell, kind: str) -> None:
    if kind == "ray":
        require_ray()
    # Beside the data folder, whose name is too long for Ray's sockets.
    shell.environment["TMPDIR"] = folder = tempfile.mkdtemp(prefix="mr-")
    async with shell.started("pool", "fleet.yaml", "--pool", kind) as pool:
        await shell_has(shell, ["demo-worker-1"] * 2)
        processes = processes_of(pool.pid)
        assert len(processes) >= 2
        pool.signal(signal.SIGKILL)
        await until_gone(processes)
    assert os.listdir(folder) == []
    os.rmdir(folder)
    assert await hosts(shell) == []
