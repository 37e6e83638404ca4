"""`muster contracts list` and `cancel`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from muster.agent.asking import state_name
from muster.cli import exits, text
from muster.cli.call_input import labels_of
from muster.cli.exits import Trouble
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import (
    out,
    print_json,
    say,
    state_text,
    table,
    without_empty_last,
)
from muster.model.states import ContractState
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.v1.contract_pb2 import Contract

_ID = re.compile(r"[0-9a-f]{16}")
_NEWEST = 100


@dataclass(frozen=True)
class ContractOptions:
    """What the command line says."""

    states: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    agent: str = ""
    root_id: str = ""
    parent_id: str = ""
    labels: Sequence[str] = ()
    most: int = 20


async def find_contract(client: Client, named: str) -> Contract:
    """The contract that a person means: by id, by request_id, or the newest. Raises `Trouble`."""
    if not named:
        newest = [contract async for contract in client.list(most=_NEWEST)]
        if not newest:
            message = "there are no contracts yet"
            hint = "make one with: muster call CAPABILITY JSON"
            raise Trouble(message, exits.NOT_FOUND, hint)
        # What a person asked for last, rather than what an agent delegated for it.
        asked = next((each for each in newest if not each.parent_id), newest[0])
        return await client.get(asked.id)
    if _ID.fullmatch(named):
        return await client.get(named)
    return await client.get(request_id=named)


def states_of(names: Sequence[str]) -> list[str]:
    """States as the mesh calls them; "open" and "ended" stand for several. Raises `Trouble`."""
    from muster.model.states import TERMINAL

    groups = {
        "OPEN": [state.name for state in ContractState if state not in TERMINAL],
        "ENDED": [state.name for state in ContractState if state in TERMINAL],
    }
    found: dict[str, None] = {}
    for name in names:
        word = name.upper().replace("-", "_").replace(" ", "_")
        if word not in groups and word not in ContractState.__members__:
            known = ", ".join(state.name.lower() for state in ContractState)
            message = f"{name!r} is no state; there are {known}, and open and ended for several"
            raise Trouble(message, exits.USAGE)
        found.update(dict.fromkeys(groups.get(word, [word])))
    return list(found)


async def list_contracts(place: Place, options: ContractOptions, as_json: bool) -> int:
    """Lists contracts, newest first."""
    conditions = {
        "states": states_of(options.states),
        "capabilities": list(options.capabilities),
        "agent": options.agent,
        "root_id": options.root_id,
        "parent_id": options.parent_id,
        "labels": labels_of(options.labels),
    }
    # One more than is shown, to know whether there are more.
    most = options.most + 1 if options.most else None
    async with connected(place) as client:
        found = [contract async for contract in client.list(most=most, **conditions)]
    shown = found[: options.most or None]
    if as_json:
        print_json([message_json(contract) for contract in shown])
    elif not shown:
        say("no contract fits" if any(conditions.values()) else "there are no contracts yet")
    else:
        rows = [_row(contract, time.time()) for contract in shown]
        columns = ["CONTRACT", "STATE", "<CAPABILITY", ">AGE", ">TOOK", "<BY", "<WHY"]
        out().print(table(*without_empty_last(columns, rows)))
        if len(shown) < len(found):
            say("there are more; show them with: -n 100, or -n 0 for all", style="bright_black")
    return exits.OK


def _row(contract: Contract, now: float) -> list[str | Text]:
    accepted = seconds_of_timestamp(contract.accept_time)
    took = ""
    if contract.HasField("end_time"):
        took = text.duration(seconds_of_timestamp(contract.end_time) - accepted)
    failure = contract.response.failure
    return [
        contract.id,
        state_text(state_name(contract.state)),
        contract.request.capability.name,
        text.short_age(now - accepted),
        took,
        contract.response.agent,
        text.shortened(" ".join(part for part in (failure.code, failure.message) if part), 120),
    ]


async def cancel_contract(place: Place, named: str, reason: str, as_json: bool) -> int:
    """Cancels a contract with its children; returns when that is recorded."""
    async with connected(place) as client:
        contract = await find_contract(client, named)
        response = await client.cancel(contract.id, reason or "cancelled at the terminal")
    if as_json:
        print_json(message_json(response))
    else:
        say(f"{contract.id} is cancelled, with everything below it")
    return exits.OK
