"""A host that writes down what it executes: `python -m tests.support.recording_host NAME JOURNAL`.

It adds one line to its journal for each execution, before it does anything else: contract id,
epoch, a nonce that no other execution has, and the machine's monotonic clock. The line is not
fsynced: it is there to survive the process, not the machine. The nonce is in the output, too.

    fault.work  takes as many milliseconds as its input says
    fault.hold  works until its gate opens: "first" on SIGUSR1, "second" on SIGUSR2
    fault.tree  asks for children, by key, and returns what they return
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from muster.agent import Agent, Call, Context, Host

WINDOW = 100
AGENTS = 2
GATES = {"first": signal.SIGUSR1, "second": signal.SIGUSR2}


class Journal:
    """A file of lines, each written whole."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def executed(self, contract_id: str, epoch: int) -> str:
        """Writes down that an execution begins; returns its nonce."""
        nonce = secrets.token_hex(8)
        os.write(self._file, f"{contract_id} {epoch} {nonce} {time.monotonic():.6f}\n".encode())
        return nonce


def make_agent(name: str, journal: Journal, gates: dict[str, asyncio.Event]) -> Agent:
    """An agent with every capability."""
    agent = Agent(name, kind="recorder", max_in_flight=WINDOW)

    @agent.capability("fault.work")
    async def work(text: str, ms: int = 0, *, ctx: Context) -> dict[str, str]:
        nonce = journal.executed(ctx.contract_id, ctx.facts.epoch)
        await asyncio.sleep(ms / 1000)
        return {"text": text, "nonce": nonce}

    @agent.capability("fault.hold")
    async def hold(text: str, gate: str, *, ctx: Context) -> dict[str, str]:
        nonce = journal.executed(ctx.contract_id, ctx.facts.epoch)
        await gates[gate].wait()
        return {"text": text, "nonce": nonce}

    @agent.capability("fault.tree")
    async def tree(text: str, children: int, ms: int, *, ctx: Context) -> dict[str, str]:
        nonce = journal.executed(ctx.contract_id, ctx.facts.epoch)
        calls = [
            Call("fault.work", {"text": f"{text}/{n}", "ms": ms}, key=str(n))
            for n in range(children)
        ]
        answers = await ctx.gather(calls)
        return {"text": " ".join(answer["text"] for answer in answers), "nonce": nonce}

    return agent


async def main() -> None:
    """Runs until SIGTERM."""
    name, journal = sys.argv[1], Journal(Path(sys.argv[2]))
    loop = asyncio.get_running_loop()
    gates = {gate: asyncio.Event() for gate in GATES}
    for gate, number in GATES.items():
        loop.add_signal_handler(number, gates[gate].set)
    host = Host([make_agent(f"{name}-{n}", journal, gates) for n in range(AGENTS)], name=name)
    loop.add_signal_handler(signal.SIGTERM, host.leave)
    await host.run()


if __name__ == "__main__":
    asyncio.run(main())
