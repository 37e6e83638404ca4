"""What the README tells a stranger to type works, as it stands there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from muster.workflow.source import read_workflow
from tests.support.servers import require

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("readme")]


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> Iterator[str]:
    """Every command of the shell blocks, without its comment."""
    for block in blocks("sh"):
        for line in block.splitlines():
            command = line.partition(" #")[0].strip()
            if command:
                yield command


def muster_commands() -> list[list[str]]:
    """Those of them that call muster, as arguments."""
    return [shlex.split(each)[1:] for each in commands() if each.startswith(".venv/bin/muster ")]


@asynccontextmanager
async def process(arguments: Sequence[str], environment: dict[str, str]) -> AsyncIterator[str]:
    """Runs muster until the block ends; its first line of output."""
    running = await asyncio.create_subprocess_exec(
        BIN / "muster",
        *arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert running.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = await running.stdout.readline()
        yield line.decode()
    finally:
        running.send_signal(signal.SIGINT)
        await running.communicate()


async def muster(arguments: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Runs muster to its end: exit code and standard output."""
    running = await asyncio.create_subprocess_exec(
        BIN / "muster",
        *arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    output, _ = await running.communicate()
    assert running.returncode is not None
    return running.returncode, output.decode()


def test_make_knows_every_target_that_is_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {each.split()[1] for each in commands() if each.startswith("make ")}
    assert targets == {"run", "test", "backends"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


async def test_the_first_agent_answers_as_the_readme_says(tmp_path: Path) -> None:
    up, agent, call, *_ = muster_commands()
    environment = {**os.environ, "MUSTER_DATA_DIR": str(tmp_path), "MUSTER_HTTP_PORT": "none"}
    async with process([*up, "--port", "0"], environment) as said:
        assert "127.0.0.1" in said or "mesh" in said, said
        async with process(agent, environment):
            # An agent that has just begun may not be known yet: its capability is waited for.
            async with asyncio.timeout(30):
                while (await muster(["capabilities", "text.shout"], environment))[0] != 0:
                    continue
            code, output = await muster(call, environment)
        assert (code, json.loads(output)) == (0, "HELLO!")
        for look in (["status"], ["agents"], ["capabilities"], ["contracts", "list"]):
            code, output = await muster([*look, "-o", "json"], environment)
            assert code == 0, look
            assert json.loads(output.splitlines()[0]) is not None


async def test_several_of_every_service_answer_as_the_readme_says(tmp_path: Path) -> None:
    require("postgres", "nats", "consul")
    _, agent, call, *_, up = muster_commands()
    environment = {**os.environ, "MUSTER_DATA_DIR": str(tmp_path), "MUSTER_HTTP_PORT": "none"}
    code, output = await muster([*up, "--port", "0", "--detach"], environment)
    assert code == 0, output
    try:
        async with process(agent, environment), asyncio.timeout(60):
            while (await muster(["capabilities", "text.shout"], environment))[0] != 0:
                continue
            code, output = await muster(call, environment)
        assert (code, json.loads(output)) == (0, "HELLO!")
        code, output = await muster(["status", "-o", "json"], environment)
        told = json.loads(output)
        assert len(told["services"]) == 6
        assert set(told["backends"]) == {"postgres", "nats", "consul"}
    finally:
        code, output = await muster(["down"], environment)
    assert code == 0, output


RUNS = [each for each in muster_commands() if each[:2] == ["workflow", "run"]]


@pytest.mark.parametrize("command", RUNS, ids=lambda command: command[2])
async def test_each_workflow_leaves_something_to_open(command: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "MUSTER_DATA_DIR": str(tmp_path), "MUSTER_HTTP_PORT": "none"}
    code, output = await muster(command, environment)
    assert code == 0, output
    page = Path(output.split()[0])
    assert page.is_relative_to(tmp_path)
    assert "<html" in await asyncio.to_thread(page.read_text)


def test_the_workflow_in_the_readme_is_one() -> None:
    (text,) = blocks("yaml")
    assert [step.name for step in read_workflow(text).workflow.steps] == [
        "plan",
        "write",
        "publish",
    ]


def test_the_agent_in_the_readme_is_the_one_in_the_examples() -> None:
    example = (ROOT / "agents" / "examples" / "ten_lines.py").read_text()
    shown = blocks("python")[0].strip()
    assert shown in example
    assert len([line for line in shown.splitlines() if line.strip()]) <= 10


def test_every_python_block_is_python() -> None:
    for block in blocks("python"):
        compile(block, "README.md", "exec", flags=__import__("ast").PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_file_that_is_linked_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
