"""A host that writes down what it executes: `python -m tests.support.recording_host NAME JOURNAL`.

It notes each execution in its journal before it does anything else, with a nonce that no other
execution has and that is in the output, too. Everything that passes on its session goes into the
journal as well. Lines are not fsynced: they are there to survive the process, not the machine.

    fault.work  takes as many milliseconds as its input says
    fault.hold  works until its gate opens: "first" on SIGUSR1, "second" on SIGUSR2
    fault.tree  asks for children, by key, and returns what they return
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from pathlib import Path

from muster.agent import Agent, Call, Context, Host
from tests.support.history.journal import Journal
from tests.support.history.records import Execution
from tests.support.recording_session import tap

WINDOW = 100
AGENTS = 2
GATES = {"first": signal.SIGUSR1, "second": signal.SIGUSR2}


class Notes:
    """What one agent's executions note."""

    def __init__(self, journal: Journal, host: str, agent: str) -> None:
        self._journal = journal
        self._who = (host, agent)

    def executed(self, ctx: Context) -> str:
        """Notes that an execution begins; returns its nonce."""
        nonce = secrets.token_hex(8)
        self._journal.write(Execution(ctx.contract_id, ctx.facts.epoch, nonce, *self._who))
        return nonce


def make_agent(name: str, notes: Notes, gates: dict[str, asyncio.Event]) -> Agent:
    """An agent with every capability."""
    agent = Agent(name, kind="recorder", max_in_flight=WINDOW)

    @agent.capability("fault.work")
    async def work(text: str, ms: int = 0, *, ctx: Context) -> dict[str, str]:
        nonce = notes.executed(ctx)
        await asyncio.sleep(ms / 1000)
        return {"text": text, "nonce": nonce}

    @agent.capability("fault.hold")
    async def hold(text: str, gate: str, *, ctx: Context) -> dict[str, str]:
        nonce = notes.executed(ctx)
        await gates[gate].wait()
        return {"text": text, "nonce": nonce}

    @agent.capability("fault.tree")
    async def tree(text: str, children: int, ms: int, *, ctx: Context) -> dict[str, str]:
        nonce = notes.executed(ctx)
        calls = [
            Call("fault.work", {"text": f"{text}/{n}", "ms": ms}, key=str(n))
            for n in range(children)
        ]
        answers = await ctx.gather(calls)
        return {"text": " ".join(answer["text"] for answer in answers), "nonce": nonce}

    return agent


async def main() -> None:
    """Runs until SIGTERM."""
    name, journal = sys.argv[1], Journal(Path(sys.argv[2]), "host")
    tap(journal)
    loop = asyncio.get_running_loop()
    gates = {gate: asyncio.Event() for gate in GATES}
    for gate, number in GATES.items():
        loop.add_signal_handler(number, gates[gate].set)
    agents = [f"{name}-{n}" for n in range(AGENTS)]
    host = Host([make_agent(each, Notes(journal, name, each), gates) for each in agents], name=name)
    loop.add_signal_handler(signal.SIGTERM, host.leave)
    await host.run()


if __name__ == "__main__":
    asyncio.run(main())
