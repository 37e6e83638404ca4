"""`muster conversation`, `trace` and `state`, as people and programs call them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sources import ROOT
from tests.support.commands import Shell, shell_in

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]

AGENTS = ROOT / "tests" / "support" / "remembering_agents.py"


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        yield shell


async def test_a_conversation_is_shown_traced_compressed_and_searched(shell: Shell) -> None:
    await shell.ok("up", "--detach", "--port", "0")
    none = await shell.ok("conversation", "list")
    assert "no conversations yet" in none.err
    async with shell.started("agent", "run", str(AGENTS)) as agent:
        await agent.says("connected")
        for topic in ("wind", "rain"):
            await shell.ok("call", "text.write", f"topic={topic}", "--conversation", "talk")
        await shell.ok("call", "state.count")
    listed = (await shell.ok("conversation", "list", "-o", "json")).value
    assert [(each["id"], each["contracts"]) for each in listed] == [("talk", 2)]
    assert "2 succeeded" in (await shell.ok("conversation", "list")).out
    page = await shell.ok("conversation", "show", "talk")
    assert "writer (writing, 2)" in page.out
    assert "muster conversation compress talk" in page.err
    told = (await shell.ok("trace", "talk")).out.splitlines()
    assert len(told) == 9  # a line for the day, and four for each contract
    assert told[1].endswith("local asked for text.write: topic: wind")
    assert "writer ended it: succeeded: text: All about wind" in told[4]
    entries = (await shell.ok("trace", "talk", "-o", "json")).value
    assert [each["event"]["sequence"] for each in entries] == [1, 2, 3, 4] * 2

    made = (await shell.ok("conversation", "compress", "talk", "-o", "json")).value
    assert [each["number"] for each in made["blocks"]] == [1]
    assert "nothing new" in (await shell.ok("conversation", "compress", "talk")).err
    assert "All about rain" in (await shell.ok("conversation", "memory", "talk")).out
    block = (await shell.ok("conversation", "memory", "talk", "1", "-o", "json")).value
    assert [each["asked"][:11] for each in block["digests"]] == ["topic: wind", "topic: rain"]

    found = await shell.ok("conversation", "search", "RAIN", "--in", "talk")
    assert "All about rain" in found.out
    assert "1 of 2 contracts searched" in found.err
    found = (await shell.ok("conversation", "search", "wind", "--memory", "-o", "json")).value
    assert [each["block"]["conversation_id"] for each in found["matches"]] == ["talk"]

    assert [
        each["name"] for each in (await shell.ok("state", "list", "keeper", "-o", "json")).value
    ]
    assert (await shell.ok("state", "get", "keeper", "counts")).out.split() == [
        "{",
        '"seen":',
        "1",
        "}",
    ]

    for words, hint in (
        (("conversation", "show", "other"), "muster conversation list"),
        (("trace", "other"), "muster conversation list"),
        (("conversation", "memory", "talk", "7"), "muster conversation memory talk"),
        (("state", "get", "keeper", "other"), "muster state list keeper"),
    ):
        refused = await shell.run(*words)
        assert refused.code == 4
        assert hint in refused.err
