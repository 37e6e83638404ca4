"""`muster events`, as people and programs call it."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muster.servers.server import ServerProcess
from tests.sources import ROOT
from tests.support.bus import drained
from tests.support.commands import Shell, shell_in

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]

FLEET = ROOT / "agents" / "examples" / "fleet.yaml"


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell_in(tmp_path) as shell:
        yield shell


async def test_events_are_followed_and_published_again(
    shell: Shell, nats_process: ServerProcess
) -> None:
    shell.environment["MUSTER_BUS"] = nats_process.server.url
    await shell.ok("up", "--detach", "--port", "0", "--fleet", str(FLEET))
    await shell.ok("call", "demo.wait", "seconds:=0.01")
    await drained(nats_process.server.url, 1)
    replayed = (await shell.ok("events", "replay", "--since", "1h", "-o", "json")).value
    assert replayed == {"contracts": 1, "events": 4}
    words = ("events", "tail", "contract.>", "--since", "1h", "-o", "json")
    async with shell.started(*words) as tail:
        events = [json.loads(await tail.prints()) for _ in range(4)]
        tail.signal(signal.SIGINT)
        assert (await tail.ended()).code == 130
    assert [each["type"].rpartition(".")[2] for each in events] == [
        "accepted", "leased", "started", "ended",
    ]  # fmt: skip
    async with shell.started("events", "tail", "contract.>", "--since", "1h") as tail:
        lines = [await tail.prints() for _ in range(4)]
    assert "contract.ended.demo.wait  succeeded" in lines[-1]
    third = lines[2].split()[1]
    async with shell.started("events", "tail", "contract.>", "--from", third) as tail:
        assert [await tail.prints() for _ in range(2)] == lines[2:]
    async with shell.started("events", "tail", "agent.attached.>", "--since", "1h") as tail:
        assert "agent.attached." in await tail.prints()
    both = await shell.run("events", "tail", "--from", third, "--since", "1h")
    assert both.code == 2
    assert "name one of them" in both.err
    refused = await shell.run("events", "replay", "--since", "yesterday")
    assert refused.code == 2
    assert "like 10m or 1h30m" in refused.err
