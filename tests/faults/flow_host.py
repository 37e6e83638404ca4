"""A host for workflows: `python -m tests.faults.flow_host NAME FOLDER AGENTS WINDOW`.

It has the agents of all templates, one of each kind, and AGENTS less those that write down what
they execute, before they do anything else. All that passes on its session is written down.

    flow.work   takes as many milliseconds as its input says
    flow.shaky  fails at its first attempts
    flow.needs  fails for good where a file is not there
    flow.undo   undoes nothing
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from pathlib import Path

from muster.agent import Agent, Context, Failed, Host
from muster.workflows import TEMPLATES
from tests.faults.fleet_host import Diary, digest
from tests.support.history import Journal
from tests.support.history.journal import SUFFIX
from tests.support.recording_session import tap

PREFIX = "flow."  # of the capabilities whose executions are written down
SHAKY_ATTEMPTS = 2
TEMPLATE_WINDOW = 4
WORKERS = 2


def template_agents(host: str) -> list[Agent]:
    """One of each kind that templates need and that can be had here."""
    found: list[Agent] = []
    for template in TEMPLATES.values():
        if not template.missing():
            module = importlib.import_module(template.agents)
            found += [each for each in vars(module).values() if isinstance(each, Agent)]
    made = [agent.renamed(f"{host}-{agent.name}") for agent in found]
    for agent in made:
        agent.max_in_flight = TEMPLATE_WINDOW
    return made


def make_agent(name: str, window: int, diary: Diary) -> Agent:
    """An agent with every capability of the synthetic workflows."""
    agent = Agent(name, kind="flow", max_in_flight=window)

    @agent.capability("flow.work")
    async def work(text: str, ms: int = 0, *, ctx: Context) -> dict[str, str]:
        nonce = diary.executes(name, ctx)
        await asyncio.sleep(ms / 1000)
        return {"read": digest(text), "nonce": nonce}

    @agent.capability("flow.shaky")
    async def shaky(text: str, *, ctx: Context) -> dict[str, str]:
        nonce = diary.executes(name, ctx)
        if ctx.attempt <= SHAKY_ATTEMPTS:
            raise Failed("SHAKY", f"attempt {ctx.attempt} fails")
        return {"read": digest(text), "nonce": nonce}

    @agent.capability("flow.needs")
    async def needs(path: str, ms: int = 0, *, ctx: Context) -> dict[str, str]:
        nonce = diary.executes(name, ctx)
        await asyncio.sleep(ms / 1000)
        if not Path(path).exists():  # noqa: ASYNC240 - a look at a local disk
            raise Failed("MISSING", f"nonce={nonce} nothing is there", permanent=True)
        return {"read": digest("found"), "nonce": nonce}

    @agent.capability("flow.undo")
    async def undo(text: str, ms: int = 0, *, ctx: Context) -> dict[str, str]:
        nonce = diary.executes(name, ctx)
        await asyncio.sleep(ms / 1000)
        return {"read": digest(text), "nonce": nonce}

    return agent


async def main() -> None:
    """Runs until SIGTERM."""
    name, folder, agents, window = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    journal = Journal(folder / f"{name}{SUFFIX}", "host")
    tap(journal)
    diary = Diary(name, journal)
    made = template_agents(name)
    for number in range(agents - len(made)):
        made.append(make_agent(f"{name}-{number}", int(window), diary))
    host = Host(made, name=name, workers=WORKERS, leave_seconds=15.0)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.leave)
    await host.run()


if __name__ == "__main__":
    asyncio.run(main())
