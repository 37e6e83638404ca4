"""`muster schedule`, as people and programs call it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sources import ROOT
from tests.support.commands import Shell, shell_in
from tests.support.processes import until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]

FLEET = ROOT / "agents" / "examples" / "fleet.yaml"
SECONDS = 30.0
WAIT = ("--call", "demo.wait", "seconds:=0.01")


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        await shell.ok("up", "--detach", "--port", "0", "--fleet", str(FLEET))
        yield shell


async def test_a_schedule_is_made_looked_at_paused_and_deleted(shell: Shell) -> None:
    none = await shell.ok("schedule", "list")
    assert "there are no schedules yet" in none.err
    made = await shell.ok("schedule", "create", "beat", "--every", "0.3s", *WAIT, "--note", "often")
    assert "beat is made; it starts now" in made.err
    daily = ("--cron", "0 9 * * MON-FRI", "--tz", "Europe/Berlin", "--jitter", "5m")
    await shell.ok("schedule", "create", "daily", *daily, *WAIT, "--overlap", "queue")

    async def has_started() -> bool:
        shown = (await shell.ok("schedule", "show", "beat", "-o", "json")).value
        return int(shown["state"]["counts"]["started"]) >= 2

    await until(has_started, SECONDS, "two ticks")
    listed = (await shell.ok("schedule", "list")).out
    assert "cron 0 9 * * MON-FRI (Europe/Berlin)" in listed
    assert "every 0.3s" in listed
    page = (await shell.ok("schedule", "show", "daily")).out
    assert "up to 5m later" in page
    assert "queue (at most 10 wait); at most 10m late" in page
    paused = await shell.ok("schedule", "pause", "beat", "--note", "for repairs")
    assert "is paused" in paused.err
    assert "for repairs" in (await shell.ok("schedule", "show", "beat")).out
    contract = (await shell.ok("schedule", "trigger", "beat")).out.strip()
    assert "demo.wait" in (await shell.ok("contracts", "show", contract)).out
    await shell.ok("schedule", "resume", "beat")
    rows = (await shell.ok("schedule", "history", "beat", "-n", "0", "-o", "json")).value
    assert contract in [row["target_id"] for row in rows]
    refused = await shell.run("schedule", "create", "beat", "--every", "1h", *WAIT)
    assert refused.code == 5
    assert "--replace" in refused.err
    changed = await shell.ok("schedule", "create", "beat", "--every", "1h", *WAIT, "--replace")
    assert "beat is changed" in changed.err
    await shell.ok("schedule", "delete", "beat")
    gone = await shell.run("schedule", "show", "beat")
    assert gone.code == 4
    assert "muster schedule list" in gone.err


WRONG = [
    (WAIT, "say when"),
    (("--every", "1s"), "say what"),
    (("--every", "soon", *WAIT), "is no duration"),
    (("--every", "1s", "--tz", "UTC", *WAIT), "--tz goes with --cron"),
    (("--at", "someday", *WAIT), "neither like 10m"),
    (("--every", "1s", "--overlap", "never", *WAIT), "--overlap is one of"),
    (("--cron", "61 * * * *", *WAIT), "minute that is not as cron has them"),
    (("--cron", "* * * * *", "--tz", "Mars/Olympus", *WAIT), "is no time zone"),
    (("--every", "1s", "--call", "demo.wait", "seconds=soon"), "does not fit demo.wait"),
]


async def test_what_is_wrong_is_said_in_one_line(shell: Shell) -> None:
    for words, said in WRONG:
        refused = await shell.run("schedule", "create", "wrong", *words)
        assert refused.code == 2, refused
        assert said in refused.err


async def test_a_preview_shows_the_night_without_half_past_two(shell: Shell) -> None:
    words = ("--cron", "30 2 29 3 *", "--tz", "Europe/Berlin", "--start", "2037-01-01T00:00+00:00")
    times = (await shell.ok("schedule", "preview", *words, "-n", "2", "-o", "json")).value
    assert times == ["2037-03-29T01:00:00Z", "2038-03-29T00:30:00Z"]
