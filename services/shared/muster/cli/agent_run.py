"""`muster agent run FILE`: a host for the agents of one's own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster.cli import exits, text
from muster.cli.exits import Trouble, trouble_of
from muster.cli.place import Place, answers
from muster.cli.terminal import say
from muster.model import limits

if TYPE_CHECKING:
    from muster.agent import Agent


@dataclass(frozen=True)
class RunOptions:
    """What the command line says."""

    file: Path
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
    capabilities = sorted({name for agent in agents for name, _ in agent.capabilities})
    say(f"{_named(agents)}: {text.listed(capabilities, 6)}")
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
    """The agents of the file, named and copied as asked for. Raises `Trouble`."""
    from muster.hosting.loading import LoadError, agents_of, copies, load_file

    try:
        found = agents_of(load_file(options.file))
    except LoadError as error:
        raise Trouble(str(error), exits.USAGE) from None
    if not found:
        message = (
            f"{options.file} defines no Agent; it needs a line like: agent = Agent('my-agent')"
        )
        raise Trouble(message, exits.USAGE)
    if options.name:
        if len(found) > 1:
            names = text.listed((agent.name for agent in found), 5)
            message = f"--name is for a file with one agent; {options.file} defines {names}"
            raise Trouble(message, exits.USAGE)
        found = [found[0].renamed(options.name)]
    return copies(found, options.count)


def _named(agents: list[Agent]) -> str:
    if len(agents) == 1:
        return f"agent {agents[0].name}"
    return f"{len(agents)} agents ({text.listed((agent.name for agent in agents), 3)})"
