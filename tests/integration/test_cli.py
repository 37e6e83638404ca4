"""The commands, with a mesh and without one, as people and programs call them."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sources import ROOT
from tests.support.commands import Shell, shell_in
from tests.support.processes import until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]

FLEET = ROOT / "agents" / "examples" / "fleet.yaml"

AGENT = """
import asyncio
from muster.agent import Agent, Context, Failed

agent = Agent("mine", kind="own")

@agent.capability("own.wait")
async def wait(ctx: Context, seconds: float) -> float:
    ctx.log("it begins")
    await asyncio.sleep(seconds)
    return seconds

@agent.capability("own.fail")
async def fail() -> None:
    raise Failed("NO_LUCK", "it went wrong", permanent=True)

@agent.capability("own.bytes")
async def some_bytes(text: str) -> dict[str, str]:
    return {"text": text}
"""


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        yield shell


@pytest.fixture(params=["one process", "separate processes"])
async def mesh(request: pytest.FixtureRequest, shell: Shell) -> Shell:
    """A mesh with the example fleet, in each shape."""
    apart = ["--separate"] if request.param == "separate processes" else []
    await shell.ok("up", "--detach", "--port", "0", "--fleet", str(FLEET), *apart)
    assert shell.state.shape == request.param
    return shell


async def test_a_stranger_gets_from_up_to_down(mesh: Shell) -> None:
    status = (await mesh.ok("status", "-o", "json")).value
    assert status["well"]
    assert {name: each["state"] for name, each in status["services"].items()} == dict.fromkeys(
        ("registry", "scheduler", "executor"), "SERVING"
    )
    assert {row["kind"]: (row["agents"], row["hosts"]) for row in status["kinds"]} == {
        "boss": (2, 2),
        "counter": (6, 3),
        "waiter": (4, 3),
    }
    assert (await mesh.ok("call", "demo.both", "text=one two two")).out == "3\n"
    asked = await mesh.ok("call", "demo.count", "-", "-o", "json", stdin=b'{"text": "a b a"}')
    assert asked.value["payload"]["json"] == {"a": 2, "b": 1}
    ended = await mesh.run("contracts", "cancel", asked.value["contract_id"])
    assert (ended.code, ended.err.count("has ended")) == (5, 1)
    shown = (await mesh.ok("contracts", "show", asked.value["contract_id"], "-o", "json")).value
    assert [event["type"] for event in shown["events"]][::3] == ["ACCEPTED", "ENDED"]
    page = (await mesh.ok("contracts", "show")).out
    for part in ("demo.count", "succeeded", "attempts", "events", '{"text":"a b a"}', '"a": 2'):
        assert part in page
    listed = (await mesh.ok("contracts", "list", "-o", "json", "--state", "succeeded")).value
    assert len(listed) == 4
    table = (await mesh.ok("contracts", "list")).out.splitlines()
    assert table[0].split() == ["CONTRACT", "STATE", "CAPABILITY", "AGE", "TOOK", "BY"]
    assert len(table) == 5
    assert "demo.count" in (await mesh.ok("capabilities")).out
    about = (await mesh.ok("capabilities", "demo.wait")).out
    assert "muster call demo.wait" in about
    assert "default 1.0" in about
    assert len((await mesh.ok("agents", "--kind", "waiter", "-o", "json")).value) == 4
    processes = mesh.identities()
    assert "stopped" in (await mesh.ok("down")).err
    assert not any(each.is_running for each in processes)
    assert "nothing is running" in (await mesh.ok("down")).err


async def test_agents_of_a_file_serve_and_their_failures_are_told(shell: Shell) -> None:
    await shell.ok("up", "-d", "--port", "0")
    (shell.folder / "my_agents.py").write_text(AGENT)
    async with shell.started("agent", "run", "my_agents.py", "--count", "2") as running:
        await running.says("is connected, with 2 agents")
        await until_known(shell, "own.wait")
        waited = await shell.ok("call", "own.wait", "seconds:=0.01")
        assert waited.out == "0.01\n"
        assert "it begins" in waited.err
        failed = await shell.run("call", "own.fail")
        assert (failed.code, failed.out) == (1, "")
        assert "failed: NO_LUCK: it went wrong" in failed.err
        assert "muster contracts show" in failed.err
        quiet = await shell.ok("call", "-q", "own.wait", "seconds:=0.01")
        assert quiet.err == ""
        large = "x" * 200_000
        echoed = await shell.ok(
            "call", "-q", "own.bytes", "-", stdin=json.dumps({"text": large}).encode()
        )
        assert echoed.value == {"text": large}
        running.signal(signal.SIGINT)
        assert (await running.ended()).code == 0


async def until_known(shell: Shell, capability: str) -> None:
    async def is_known() -> bool:
        return (await shell.run("capabilities", capability)).code == 0

    await until(is_known, 20, f"{capability} is in the catalogue")


async def test_ctrl_c_cancels_what_was_asked_for(shell: Shell) -> None:
    await shell.ok("up", "-d", "--port", "0", "--fleet", str(FLEET))
    async with shell.started("call", "demo.wait", "seconds:=60") as call:
        await until_running(shell)
        call.signal(signal.SIGINT)
        ended = await call.ended()
    assert (ended.code, ended.out) == (130, "")
    assert "cancelled: CANCELLED: interrupted at the terminal" in ended.err
    (contract,) = (await shell.ok("contracts", "list", "-o", "json")).value
    assert contract["state"] == "CONTRACT_STATE_CANCELLED"


async def until_running(shell: Shell) -> None:
    async def runs() -> bool:
        listed = await shell.run("contracts", "list", "-o", "json", "--state", "running")
        return listed.code == 0 and bool(listed.value)

    await until(runs, 20, "the contract runs")


async def test_contracts_can_be_cancelled_watched_and_explained(shell: Shell) -> None:
    await shell.ok("up", "-d", "--port", "0", "--fleet", str(FLEET))
    contract = (await shell.ok("call", "--no-wait", "demo.wait", "seconds:=60")).out.strip()
    async with shell.started("contracts", "watch", contract, "-o", "json") as watching:
        await until_running(shell)
        await shell.ok("contracts", "cancel", contract, "--reason", "no longer needed")
        watched = await watching.ended()
    assert watched.code == 1
    lines = [json.loads(line) for line in watched.out.splitlines()]
    types = [line["type"] for line in lines if line["kind"] == "change"]
    assert (types[0], types[-1]) == ("ACCEPTED", "ENDED")
    assert lines[-1]["kind"] == "response"
    assert lines[-1]["failure"]["message"] == "no longer needed"
    page = (await shell.ok("contracts", "show", contract)).out
    assert "no longer needed" in page


async def test_a_contract_that_waits_says_why(shell: Shell) -> None:
    await shell.ok("up", "-d", "--port", "0")
    (shell.folder / "my_agents.py").write_text(AGENT)
    async with shell.started("agent", "run", "my_agents.py") as running:
        await until_known(shell, "own.wait")
        first = (await shell.ok("call", "--no-wait", "own.wait", "seconds:=60")).out.strip()
        await until_running(shell)
        async with shell.started("call", "own.wait", "seconds:=60") as call:
            assert "queued" in await call.says("busy")
            page = (await shell.ok("contracts", "show")).out
            assert "placement" in page
            assert "has no free slot" in page
            call.signal(signal.SIGINT)
            assert (await call.ended()).code == 130
        await shell.ok("contracts", "cancel", first)
        running.signal(signal.SIGTERM)
        await running.ended()


async def test_what_is_not_there_is_told_from_what_is_wrong(shell: Shell) -> None:
    await shell.ok("up", "-d", "--port", "0", "--fleet", str(FLEET))
    for words, code, says in (
        (["call", "demo.nothing"], 4, "muster capabilities"),
        (["call", "demo.count", "{bad"], 2, "is not JSON"),
        (["call", "demo.count", "other=1"], 2, "does not fit demo.count"),
        (["call", "demo.count", "text=a", "--timeout", "soon"], 2, "is no duration"),
        (["capabilities", "demo.nothing"], 4, "muster capabilities"),
        (["contracts", "show", "0" * 16], 4, "muster contracts list"),
        (["contracts", "cancel", "no-such-request"], 4, "muster contracts list"),
        (["contracts", "list", "--state", "lost"], 2, "is no state"),
        (["contracts", "list", "--root", "x"], 2, "root_id"),
        (["agent", "run", "nothing.py"], 2, "there is no file"),
        (["nonsense"], 2, "No such command"),
    ):
        ended = await shell.run(*words)
        assert (ended.code, ended.out) == (code, ""), (words, ended)
        assert says in ended.err, (words, ended)
        assert "Traceback" not in ended.err


async def test_without_a_mesh_every_command_says_how_to_start_one(shell: Shell) -> None:
    nobody = "127.0.0.1:9"
    shell.environment["MUSTER_ADDRESS"] = nobody
    for words in (
        ["status"],
        ["agents"],
        ["call", "a.b", "{}"],
        ["contracts", "list"],
        ["contracts", "watch"],
    ):
        ended = await shell.run(*words)
        assert ended.code == 3, (words, ended)
        assert ended.err == f"muster: no mesh answers at {nobody}; start one with: muster up\n"
