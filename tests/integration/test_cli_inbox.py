"""The inbox at the command line, across kill -9 of everything."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.commands import Command, Shell, shell_in
from tests.support.processes import until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]

AGENT = """
from muster.agent import Agent, Context

agent = Agent("painter", max_in_flight=2)

@agent.capability("art.paint")
async def paint(ctx: Context, what: str) -> str:
    colour = await ctx.ask(f"Which colour has the {what}?", choices=["red", "dark blue"])
    coats = await ctx.ask("How many coats?", type=int)
    sure = await ctx.ask("Really?", type=bool)
    return f"{what}: {coats} x {colour}, {sure}"
"""


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    (tmp_path / "painter.py").write_text(AGENT)
    async with shell_in(tmp_path) as shell:
        yield shell


async def ready(shell: Shell, agent: Command) -> None:
    """Waits until the agent can be asked for something."""
    await agent.says("is connected")

    async def is_known() -> bool:
        return (await shell.run("capabilities", "art.paint")).code == 0

    await until(is_known, 20, "what it offers is in the catalogue")


async def asks(shell: Shell, text: str) -> str:
    """Waits until exactly that is asked; the id of whoever asks."""
    found: list[str] = []

    async def waits() -> bool:
        waiting = (await shell.ok("inbox", "-o", "json")).value
        found[:] = [each["subject_id"] for each in waiting if each["question"]["text"] == text]
        return len(waiting) == len(found) == 1

    await until(waits, 20, f"somebody asks {text}")
    return found[0]


async def test_a_question_is_answered_after_everything_was_killed(shell: Shell) -> None:
    await shell.ok("up", "--detach", "--port", "0")
    assert (await shell.ok("inbox")).err == "nothing waits for an answer\n"
    async with shell.started("agent", "run", "painter.py") as agent:
        await ready(shell, agent)
        number = (await shell.ok("call", "--no-wait", "art.paint", "what=door")).out.strip()
        assert await asks(shell, "Which colour has the door?") == number
        os.kill(agent.pid, signal.SIGKILL)
        for identity in shell.identities():
            os.kill(identity.pid, signal.SIGKILL)
        await shell.gone(*shell.identities())
    await shell.ok("up", "--detach", "--port", "0")
    assert await asks(shell, "Which colour has the door?") == number
    page = (await shell.ok("inbox", "show", number)).out
    for part in ("painter · art.paint", "Which colour has the door?", "red | dark blue"):
        assert part in page
    table = (await shell.ok("inbox")).out.splitlines()
    assert table[0].split() == ["ID", "FROM", "QUESTION", "ANSWER", "ASKED", "LEFT"]
    assert number in table[1]
    refused = await shell.run("answer", number, "green")
    assert (refused.code, "none of the choices: red, dark blue" in refused.err) == (2, True)
    async with shell.started("agent", "run", "painter.py"):
        await shell.ok("answer", number, "dark blue")
        await asks(shell, "How many coats?")
        wrong = await shell.run("answer", number, "many")
        assert (wrong.code, "is not of type" in wrong.err) == (2, True)
        await shell.ok("inbox", "answer", number, "3")
        await asks(shell, "Really?")
        answered = (await shell.ok("answer", number, "yes", "-o", "json")).value
        assert (answered["value"], answered["principal"]) == ({"json": True}, "local")

        async def ended() -> bool:
            shown = (await shell.ok("contracts", "show", number, "-o", "json")).value
            return bool(shown["state"] == "CONTRACT_STATE_SUCCEEDED")

        await until(ended, 20, "the contract has ended")
    shown = (await shell.ok("contracts", "show", number, "-o", "json")).value
    assert shown["response"]["payload"] == {"json": "door: 3 x dark blue, True"}
    said = [each["answer"]["value"]["json"] for each in shown["questions"]]
    assert said == ["dark blue", 3, True]
    again = await shell.run("answer", number, "no")
    assert (again.code, "was answered by local" in again.err) == (5, True)
    assert "dark blue" in (await shell.ok("contracts", "show", number)).out


async def test_a_watch_of_the_inbox_tells_what_comes_and_goes(shell: Shell) -> None:
    await shell.ok("up", "--detach", "--port", "0")
    async with (
        shell.started("agent", "run", "painter.py") as agent,
        shell.started("inbox", "--watch") as watch,
    ):
        await ready(shell, agent)
        await shell.ok("call", "--no-wait", "art.paint", "what=gate")
        first = (await watch.prints()).split()
        assert first[2] == "asks"
        assert first[3:6] == ["painter", "·", "art.paint"]
        await shell.ok("answer", first[1], "red")
        assert "answered" in await watch.prints()
        assert "How many coats?" in await watch.prints()
        await shell.ok("contracts", "cancel", first[1])
        assert "closed" in await watch.prints()
    unknown = await shell.run("answer", "0" * 16, "yes")
    assert (unknown.code, "there is no question of" in unknown.err) == (4, True)
