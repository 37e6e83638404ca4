"""`muster agent run FILE…`: a host for the agents of one's own; `muster agent check FILE…`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster.cli import exits, text
from muster.cli.exits import Trouble, trouble_of
from muster.cli.place import Place, answers
from muster.cli.terminal import complain, out, say
from muster.model import limits

if TYPE_CHECKING:
    from muster.agent import Agent


@dataclass(frozen=True)
class RunOptions:
    """What the command line says."""

    files: Sequence[Path]
    name: str = ""
    count: int = 1
    workers: int | None = None


def run_agents(place: Place, options: RunOptions) -> int:
    """Runs the agents until Ctrl-C, or until the mesh drains them."""
    from muster.agent import Host
    from muster.agent.host import Superseded
    from muster.model.errors import MusterError

    endpoints = place.endpoints()
    os.environ.update(endpoints.environment)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    agents = agents_to_run(options)
    say(f"{_named(agents)}: {text.listed(_what_they_do(agents), 6)}")
    if asyncio.run(answers(endpoints.executor, limits.CONNECT_SECONDS)):
        say(f"connecting to {endpoints.executor}; Ctrl-C ends it", style="bright_black")
    else:
        say(f"no mesh answers at {endpoints.executor} yet; waiting for one", style="yellow")
        say("start one with: muster up", style="bright_black")
    host = Host(agents, workers=options.workers)
    try:
        host.run_forever()
    except MusterError as error:
        raise trouble_of(error) from None
    except Superseded as error:
        raise Trouble(str(error), exits.REFUSED) from None
    say("left; what was begun was finished or given back")
    return exits.OK


def agents_to_run(options: RunOptions) -> list[Agent]:
    """The agents of the files, named and copied as asked for. Raises `Trouble`."""
    from muster.hosting.loading import copies

    found = [agent for file in options.files for agent in _load(file)]
    names = [agent.name for agent in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        message = f"several agents are called {text.listed(twice, 5)}: give each a name of its own"
        raise Trouble(message, exits.USAGE)
    if options.name:
        if len(found) > 1:
            message = f"--name is for one agent; there are {text.listed(names, 5)}"
            raise Trouble(message, exits.USAGE)
        found = [found[0].renamed(options.name)]
    return copies(found, options.count)


def _load(file: Path) -> list[Agent]:
    from muster.hosting.loading import LoadError, load_agents

    try:
        found = load_agents(file)
    except LoadError as error:
        raise Trouble(str(error), exits.USAGE) from None
    if not found:
        message = f"{file} defines no Agent; it needs a line like: agent = Agent('my-agent')"
        raise Trouble(message, exits.USAGE)
    return found


def check_agents(files: Sequence[Path]) -> int:
    """Says of each file what it defines, or what is wrong with it. Asks no mesh."""
    code = exits.OK
    for file in files:
        try:
            found = _load(file)
        except Trouble as trouble:
            complain(str(trouble))
            code = exits.USAGE
            continue
        for agent in found:
            done = text.listed(_what_they_do([agent]), 6)
            out().print(f"{file}: {_named([agent])}: {done}", soft_wrap=True, highlight=False)
    return code


def _what_they_do(agents: Sequence[Agent]) -> list[str]:
    """Capabilities, and what events are heard of and schedules are made for."""
    return [
        *sorted({name for agent in agents for name, _ in agent.capabilities}),
        *sorted({f"hears {pattern}" for agent in agents for pattern in agent.handlers}),
        *sorted({f"on time as {name}" for agent in agents for name in agent.schedules}),
    ]


def _named(agents: list[Agent]) -> str:
    if len(agents) == 1:
        return f"agent {agents[0].name}"
    return f"{len(agents)} agents ({text.listed((agent.name for agent in agents), 3)})"
