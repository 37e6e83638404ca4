"""`muster events`: what is on the bus, and how it gets back there."""

from __future__ import annotations

import time
from datetime import datetime

from rich.text import Text

from muster.agent.events import BusEvent, Replayed
from muster.cli import exits, text
from muster.cli.exits import Trouble
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, print_json_line, say

_STATE = "CONTRACT_STATE_"


def instant_of(since: str) -> float:
    """Unix seconds of "10m", so long ago, or of an instant in ISO 8601. Raises `Trouble`."""
    try:
        return time.time() - text.parse_duration(since)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(since).timestamp()
    except ValueError:
        message = f"--since {since!r} is neither like 10m or 1h30m nor like 2026-01-31T12:00:00Z"
        raise Trouble(message, exits.USAGE) from None


async def tail(place: Place, pattern: str, since: str, number: int, as_json: bool) -> int:
    """Follows the bus until Ctrl-C."""
    if since and number:
        message = "--since and --from both say where to begin; name one of them"
        raise Trouble(message, exits.USAGE)
    begin = instant_of(since) if since else None
    async with connected(place) as client:
        if not as_json:
            say("watching; Ctrl-C ends it", style="bright_black")
        async for event in client.events(pattern, since=begin, from_sequence=number):
            print_json_line(event.event) if as_json else _print(event)
    return exits.OK


def _print(event: BusEvent) -> None:
    data = event.event.get("data")
    fields = data if isinstance(data, dict) else {}
    line = Text(f"{_clock(str(event.event.get('time', '')))}  ", style="bright_black")
    line.append(f"{event.sequence or '-'}  ", "bright_black")
    line.append(f"{text.printable(event.id)}  ", "default")
    line.append(text.printable(event.subject.split(".", 2)[-1]), "cyan")
    state = str(fields.get("state", "")).removeprefix(_STATE).lower()
    more = (state, str(fields.get("agent", "")), str(fields.get("code", "")))
    line.append("  " + " ".join(text.printable(each) for each in more if each), "bright_black")
    out().print(line, soft_wrap=True)


def _clock(instant: str) -> str:
    try:
        return text.clock(datetime.fromisoformat(instant).timestamp(), time.time())
    except ValueError:
        return "?"


async def replay(place: Place, since: str, as_json: bool) -> int:
    """Has everything published again that happened since an instant."""
    begin = instant_of(since)
    done = Replayed(0, 0)
    async with connected(place) as client:
        async for done in client.replay_events(begin):
            if not as_json:
                say(f"{text.number(done.events)} events published", style="bright_black")
    if as_json:
        print_json(done._asdict())
    else:
        events, contracts = text.number(done.events), text.number(done.contracts)
        say(f"published {events} events of {contracts} contracts again")
    return exits.OK
