"""`muster workflow` as a person uses it: real processes, on a mesh or without one."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Ended, Shell, shell_in
from tests.support.processes import until

AGENTS = """
from pathlib import Path

from muster.agent import Agent, Context, Failed

agent = Agent("worker", max_in_flight=50)

@agent.capability("test.say")
async def say(text: str) -> str:
    if text == "bad" and not Path(__file__).with_name("mended").exists():
        raise Failed("NOT_TO_BE_SAID", "that is not said here", permanent=True)
    return text.upper()
"""
FLEET = """
name: words
kinds:
  worker:
    count: 2
    capabilities: agents.py:agent
    max_in_flight: 50
"""
SHOUT = """\
name: shout
description: Says every word aloud
input: {type: object, properties: {words: {type: array, items: {type: string}}}, required: [words]}
steps:
  - name: each
    for_each: "${input.words}"
    capability: test.say
    input: {text: "${item}"}
  - name: all
    depends_on: [each]
    capability: test.say
    input: {text: "${size(steps.each.output)} words"}
output: {each: "${steps.each.output}", all: "${steps.all.output}"}
"""
ASKING = """\
name: asking
steps:
  - name: approve
    gate: {question: "Go on?", choices: ["yes", "no"]}
  - name: told
    wait: {signal: go}
    timeout: 10m
  - name: say
    depends_on: [approve, told]
    capability: test.say
    input: {text: "${steps.told.output.word}"}
output: {said: "${steps.say.output}", answer: "${steps.approve.output}"}
"""


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        for name, text in (
            ("agents.py", AGENTS),
            ("fleet.yaml", FLEET),
            ("shout.yaml", SHOUT),
            ("asking.yaml", ASKING),
        ):
            (tmp_path / name).write_text(text)
        yield shell


@pytest.fixture
async def mesh(shell: Shell) -> Shell:
    await shell.ok("up", "--detach", "--port", "0", "--fleet", "fleet.yaml")
    return shell


async def flow(shell: Shell, *words: str) -> Ended:
    return await shell.ok("workflow", *words)


async def value(shell: Shell, *words: str) -> Any:
    return (await flow(shell, *words, "-o", "json")).value


async def in_state(shell: Shell, run: str, step: str, state: str) -> None:
    async def is_there() -> bool:
        steps = (await value(shell, "show", run))["steps"]
        return any(s["name"] == step and s["state"] == f"STEP_STATE_{state}" for s in steps)

    await until(is_there, 20, f"{step} is {state}")


async def test_a_file_is_checked_registered_and_run_to_its_output(mesh: Shell) -> None:
    assert "shout: 2 steps, no mistakes\n" in (await flow(mesh, "check", "shout.yaml")).err
    assert [w["name"] for w in await value(mesh, "list") if w["version"]] == []
    said = await flow(mesh, "run", "shout.yaml", 'words:=["a", "b", "c"]')
    assert json.loads(said.out) == {"each": ["A", "B", "C"], "all": "3 WORDS"}
    assert "each: succeeded, 3/3" in said.err
    assert "2 steps · 4 items" in said.err
    assert "version 1" in (await flow(mesh, "register", "shout.yaml")).err
    (listed,) = [w for w in await value(mesh, "list") if not w["shipped"]]
    assert (listed["name"], listed["version"], listed["steps"]) == ("shout", 1, 2)
    assert "content" in (await flow(mesh, "list")).out
    written = (await flow(mesh, "get", "shout")).out
    (mesh.folder / "again.yaml").write_text(written)
    assert "version 1" in (await flow(mesh, "register", "again.yaml")).err
    (mesh.folder / "input.json").write_text('{"words": ["x"], "more": 1}')
    whole = await value(mesh, "run", "shout", "-i", "input.json", "--set", 'words=["y", "z"]')
    assert whole["input"]["json"] == {"words": ["y", "z"], "more": 1}
    assert whole["output"]["json"]["all"] == "2 WORDS"


async def test_a_run_is_planned_listed_drawn_and_told(mesh: Shell) -> None:
    await flow(mesh, "register", "shout.yaml")
    plan = await value(mesh, "run", "shout", 'words:=["a", "b"]', "--dry-run")
    assert [(s["name"], s["items"], s["agents"]) for s in plan["steps"]] == [
        ("each", 2, 2),
        ("all", 1, 2),
    ]
    table = (await flow(mesh, "run", "shout", 'words:=["a"]', "--dry-run")).out.splitlines()
    assert table[1].split()[:6] == ["1", "each", "test.say", "runs", "1", "2"]
    assert "no runs yet" in (await flow(mesh, "runs")).err
    failed = await mesh.run("workflow", "run", "shout", 'words:=["a", "bad"]', "--id", "first")
    assert (failed.code, failed.out) == (1, "")
    assert "shout failed: STEP_FAILED" in failed.err
    page = (await flow(mesh, "show", "first")).out
    for part in ("✗ each", "2/2 1✗", "– all", "NOT_TO_BE_SAID"):
        assert part in page, page
    assert "┌────────────────┐\n│ ✗ each         │" in page
    assert "| x each         |" in (await flow(mesh, "show", "first", "--ascii")).out
    watched = await mesh.run("workflow", "watch", "first")
    assert watched.code == 1
    kinds = [line.split()[1] for line in watched.out.splitlines()]
    assert (kinds[0], kinds[-1]) == ("started", "failed")
    (listed,) = await value(mesh, "runs", "--workflow", "shout", "--state", "ended")
    assert (listed["start_id"], listed["state"]) == ("first", "RUN_STATE_FAILED")
    assert (await value(mesh, "runs", "--state", "succeeded")) == []
    assert (await flow(mesh, "runs")).out.splitlines()[1].split()[1:5] == [
        "failed",
        "shout",
        "1",
        "local",
    ]
    lines = (await mesh.run("workflow", "watch", "first", "-o", "json")).out.splitlines()
    assert "started" in json.loads(lines[0])
    (mesh.folder / "mended").touch()
    assert "goes on, in revision 1" in (await flow(mesh, "retry", "first")).err
    mended = await flow(mesh, "show", "first", "--watch")
    assert '"BAD"' in mended.out
    assert "✓ each" in mended.out


async def test_a_run_asks_waits_and_is_steered(mesh: Shell) -> None:
    await flow(mesh, "register", "asking.yaml")
    run = (await flow(mesh, "run", "asking", "--detach", "--id", "mine")).out.strip()
    assert (await flow(mesh, "run", "asking", "-d", "--id", "mine")).out.strip() == run
    await in_state(mesh, run, "approve", "WAITING")
    page = (await flow(mesh, "show")).out
    assert f"answer with: muster answer {run}/approve.0 yes" in page
    assert f"muster workflow signal {run} go" in page
    assert "paused" in (await value(mesh, "pause", "mine"))
    assert "paused" in (await flow(mesh, "show", run)).out.splitlines()[0]
    await flow(mesh, "resume", run)
    async with mesh.started("workflow", "show", run, "--watch") as watching:
        await mesh.ok("answer", run, "yes")
        await flow(mesh, "signal", run, "go", "word=hello")
        ended = await watching.ended()
    assert ended.code == 0
    assert '"said": "HELLO"' in ended.out
    fork = (await flow(mesh, "fork", run, "--from", "say", "--id", "other")).out.strip()
    assert f"forked from run {run}, from say on" in (await flow(mesh, "show", fork)).out
    again = await mesh.run("workflow", "cancel", run)
    assert (again.code, "has ended" in again.err) == (5, True)
    other = (await flow(mesh, "run", "asking", "--detach")).out.strip()
    assert (await value(mesh, "cancel", other, "--reason", "enough"))["run_id"] == other
    assert (await mesh.run("workflow", "watch", other)).code == 1
    assert "CANCELLED: enough" in (await flow(mesh, "show", other)).out
    assert (await value(mesh, "retry", other))["revision"] == 1
    await in_state(mesh, other, "approve", "WAITING")
    assert "revision 1" in (await flow(mesh, "show", other)).out


async def test_ctrl_c_cancels_the_run(mesh: Shell) -> None:
    async with mesh.started("workflow", "run", "asking.yaml", "--id", "mine") as running:
        await running.says("approve: waiting")
        running.signal(signal.SIGINT)
        ended = await running.ended()
    assert (ended.code, ended.out) == (130, "")
    assert "CANCELLED: interrupted at the terminal" in ended.err
    assert (await value(mesh, "show", "mine"))["state"] == "RUN_STATE_CANCELLED"


async def test_mistakes_are_told_with_their_lines_and_what_to_do(mesh: Shell) -> None:
    bad = SHOUT.replace("[each]", "[eech]").replace("test.say", "test.sey", 1)
    (mesh.folder / "bad.yaml").write_text(bad)
    (mesh.folder / "worse.yaml").write_text("name: x\nsteps: 5\n")
    for words, code, says in (
        (["check", "bad.yaml"], 2, "bad.yaml:7: steps[0].capability"),
        (["register", "bad.yaml"], 2, "bad.yaml:10: steps[1].depends_on[0]"),
        (["run", "bad.yaml"], 2, "bad.yaml:10: steps[1].depends_on[0]"),
        (["register", "shout.yaml", "worse.yaml"], 2, "worse.yaml:2: steps"),
        (["check", "nothing.yaml"], 2, "nothing.yaml cannot be read"),
        (["run", "nothing"], 4, "muster workflow"),
        (["get", "nothing"], 4, "muster workflow"),
        (["show"], 4, "there are no runs yet"),
        (["show", "0" * 16], 4, "muster workflow runs"),
        (["cancel", "nobody"], 4, "muster workflow runs"),
        (["runs", "--state", "lost"], 2, "is no state"),
        (["run", "asking.yaml", "{}", "--input", "x.json"], 2, "two inputs"),
        (["run", "shout.yaml", "words=5"], 2, "what it takes: muster workflow get shout"),
    ):
        ended = await mesh.run("workflow", *words)
        assert (ended.code, ended.out) == (code, ""), (words, ended)
        assert says in ended.err, (words, ended)
        assert "Traceback" not in ended.err


async def test_without_a_mesh_what_needs_none_works_and_the_rest_says_so(shell: Shell) -> None:
    shell.environment["MUSTER_ADDRESS"] = "127.0.0.1:9"
    assert "without a mesh" in (await flow(shell, "check", "shout.yaml")).err
    (shell.folder / "bad.yaml").write_text(SHOUT.replace("[each]", "[eech]"))
    ended = await shell.run("workflow", "check", "bad.yaml")
    assert (ended.code, "bad.yaml:10: steps[1].depends_on[0]" in ended.err) == (2, True)
    assert [each["shipped"] for each in await value(shell, "list")] == [True] * 4
    schema = (await flow(shell, "schema")).value
    assert schema["required"] == ["name", "steps"]
    for words in (["register", "shout.yaml"], ["run", "shout.yaml"], ["runs"], ["run", "site"]):
        ended = await shell.run("workflow", *words)
        assert ended.code == 3, (words, ended)
        assert "start one with: muster up" in ended.err


async def test_what_comes_with_muster_needs_no_preparation(shell: Shell) -> None:
    shell.environment["MUSTER_GRPC_PORT"] = "0"
    detached = await shell.run("workflow", "run", "monitoring", "--detach")
    assert (detached.code, "muster up --detach --fleet" in detached.err) == (3, True)
    said = await flow(shell, "run", "monitoring")
    page = Path(said.out.strip())
    assert page == shell.data_dir / "artefacts" / "monitoring" / "index.html"
    assert page.is_file()  # noqa: ASYNC240 - once, in a test
    assert "monitoring 1 · succeeded" in said.err
    assert (await shell.run("status")).code == 3
    # The record is kept, and the agents come and go with a run beside a mesh that has none.
    await shell.ok("up", "--detach", "--port", "0")
    assert len(await value(shell, "runs")) == 1
    out = shell.folder / "mine"
    whole = await value(shell, "run", "monitoring", "--set", f"out_dir={out}")
    assert whole["artefact"] == str(out / "index.html")
    assert (await shell.ok("agents", "-o", "json")).value == []
