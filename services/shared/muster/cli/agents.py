"""`muster agents`: who is there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from muster.cli import exits, text
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, say, state_text, table
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.agent_pb2 import Agent


@dataclass(frozen=True)
class AgentOptions:
    """What the command line says."""

    kind: str = ""
    capability: str = ""
    host: str = ""
    most: int = 50


async def list_agents(place: Place, options: AgentOptions, as_json: bool) -> int:
    """Lists the agents that fit, by name."""
    async with connected(place, "registry") as client:
        found = [
            agent
            async for agent in client.agents(
                capability=options.capability,
                kinds=[options.kind] if options.kind else [],
                host=options.host,
            )
        ]
    shown = found[: options.most or None]
    if as_json:
        print_json([message_json(agent) for agent in shown])
        return exits.OK
    if not found:
        say(_nobody(options))
        return exits.OK
    columns = ["<AGENT", "<KIND", "STATE", ">BUSY", "<HOST", ">FOR", "<CAPABILITIES"]
    out().print(table(columns, [_row(agent, time.time()) for agent in shown]))
    if len(shown) < len(found):
        say(
            f"{len(shown)} of {text.counted(len(found), 'agent')}; all of them: muster agents -n 0",
            style="bright_black",
        )
    return exits.OK


def _nobody(options: AgentOptions) -> str:
    if options.kind or options.capability or options.host:
        return "no agent that is there fits; see all with: muster agents"
    return "no agents are there; run some with: muster agent run FILE"


def _row(agent: Agent, now: float) -> list[str | Text]:
    spec = agent.spec
    from muster.v1.agent_pb2 import AgentState

    state = AgentState.Name(agent.state).removeprefix("AGENT_STATE_")
    waiting = f"+{agent.suspended}" if agent.suspended else ""
    return [
        spec.name,
        spec.kind,
        state_text(state),
        f"{agent.active}{waiting}/{spec.max_in_flight or 1}",
        agent.host or agent.address,
        text.short_age(now - seconds_of_timestamp(agent.create_time)),
        text.listed((capability.name for capability in spec.capabilities), 4),
    ]
