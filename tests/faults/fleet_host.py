"""A host of the fault table's fleet: `python -m tests.faults.fleet_host NAME FOLDER AGENTS WINDOW`.

It writes down what it executes, before it does anything else, and all that passes on its session.
Its agents sleep rather than compute.

    fault.work  takes as many milliseconds as its input says
    fault.tree  asks for children by key, the first of which is a tree while there are levels left
    fault.walk  a coordinator: takes its steps one after the other, each a child by key
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import signal
import sys
from pathlib import Path

from muster.agent import Agent, Call, Context, Host
from tests.support.history import Execution, Journal
from tests.support.history.journal import SUFFIX
from tests.support.recording_session import tap


class Diary:
    """What one host writes down."""

    def __init__(self, host: str, journal: Journal) -> None:
        self._host = host
        self._journal = journal

    def executes(self, agent: str, ctx: Context) -> str:
        """An execution begins; returns its nonce."""
        nonce = secrets.token_hex(8)
        record = Execution(ctx.contract_id, ctx.facts.epoch, nonce, self._host, agent)
        self._journal.write(record)
        return nonce


def make_agent(name: str, window: int, diary: Diary) -> Agent:
    """An agent with every capability."""
    agent = Agent(name, kind="fleet", max_in_flight=window)

    @agent.capability("fault.work")
    async def work(text: str, ms: int = 0, *, ctx: Context) -> dict[str, str]:
        nonce = diary.executes(name, ctx)
        await asyncio.sleep(ms / 1000)
        return {"read": digest(text), "nonce": nonce}

    @agent.capability("fault.tree")
    async def tree(
        text: str, ms: int, children: int, levels: int, *, ctx: Context
    ) -> dict[str, str]:
        nonce = diary.executes(name, ctx)
        calls = [
            Call("fault.work", {"text": f"{text}/{n}", "ms": ms}, key=str(n))
            for n in range(children)
        ]
        if levels > 1:
            below = {"text": f"{text}/0", "ms": ms, "children": children, "levels": levels - 1}
            calls[0] = Call("fault.tree", below, key="0")
        answers = await ctx.gather(calls)
        return {"read": digest("".join(each["read"] for each in answers)), "nonce": nonce}

    @agent.capability("fault.walk")
    async def walk(text: str, ms: int, steps: int, *, ctx: Context) -> dict[str, str]:
        nonce = diary.executes(name, ctx)
        for step in range(steps):
            await ctx.call("fault.work", {"text": f"{text}/{step}", "ms": ms}, key=str(step))
        return {"read": digest(text), "nonce": nonce}

    return agent


def digest(text: str) -> str:
    """What stands for a text that was read."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


async def main() -> None:
    """Runs until SIGTERM."""
    name, folder, agents, window = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    journal = Journal(folder / f"{name}{SUFFIX}", "host")
    tap(journal)
    diary = Diary(name, journal)
    made = [make_agent(f"{name}-{n}", int(window), diary) for n in range(agents)]
    host = Host(made, name=name, leave_seconds=15.0)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.leave)
    await host.run()


if __name__ == "__main__":
    asyncio.run(main())
