"""`muster state`: what agents keep for themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from muster.cli import exits, text
from muster.cli.messages import message_json, payload_line
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, say, table
from muster.wire.jsontext import json_value
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.agent_state_pb2 import KeptState


async def list_states(place: Place, agent: str, as_json: bool) -> int:
    """Lists what an agent keeps, by name."""
    async with connected(place) as client:
        found = [each async for each in client.states.list(agent)]
    if as_json:
        print_json([message_json(each) for each in found])
    elif not found:
        say(f"{agent} keeps nothing")
    else:
        columns = ["<NAME", ">SIZE", ">CHANGED", ">REVISION", "<BY"]
        now = time.time()
        out().print(table(columns, [_row(each, now) for each in found]))
    return exits.OK


def _row(state: KeptState, now: float) -> list[str]:
    return [
        text.printable(state.name),
        text.size(state.size_bytes),
        text.short_age(now - seconds_of_timestamp(state.change_time)),
        str(state.revision),
        text.printable(state.principal),
    ]


async def show_state(place: Place, agent: str, name: str, as_json: bool) -> int:
    """Shows one value; on stdout nothing else."""
    async with connected(place) as client:
        state = await client.states.get(agent, name)
    if as_json:
        made = message_json(state)
        if state.value.HasField("json"):
            made["value"]["json"] = json_value(state.value.json)
        print_json(made)
        return exits.OK
    if state.value.HasField("json"):
        out().print(text.printable(text.indented(json_value(state.value.json))), soft_wrap=True)
    else:
        out().print(payload_line(state.value, 2000), soft_wrap=True)
    age = text.age(time.time() - seconds_of_timestamp(state.change_time))
    when = "just now" if age == "now" else f"{age} ago"
    say(f"revision {state.revision}, written {when} by {state.principal}", style="bright_black")
    return exits.OK
