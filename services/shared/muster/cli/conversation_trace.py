"""`muster trace`: who did what, a line for each thing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.text import Text

from muster.agent.asking import state_name
from muster.cli import exits, text
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import STATE_STYLES, out, print_json
from muster.v1.conversation_pb2 import ParticipantKind
from muster.v1.event_pb2 import EventType
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.conversation_pb2 import TraceEntry

_DETAIL = 160


async def show_trace(place: Place, conversation: str, as_json: bool) -> int:
    """Shows the trace of a conversation from its beginning."""
    async with connected(place) as client:
        found = [each async for each in client.conversations.trace(conversation)]
    # The mesh gives runs of contracts; a person wants one order over all of them.
    found.sort(key=lambda each: (each.event.time.ToNanoseconds(), each.event.contract_id))
    if as_json:
        print_json([message_json(each) for each in found])
        return exits.OK
    now, day = time.time(), ""
    began = seconds_of_timestamp(found[0].event.time)
    depths = _depths(found)
    for entry in found:
        at = seconds_of_timestamp(entry.event.time)
        today = time.strftime("%Y-%m-%d", time.localtime(at))
        if today != day:
            out().print(Text(f"{today}, from {text.clock(began, now)}", style="bright_black"))
            day = today
        out().print(_line(entry, at, depths.get(entry.event.contract_id, 0)), soft_wrap=True)
    return exits.OK


def _depths(found: list[TraceEntry]) -> dict[str, int]:
    """How deep each contract is below a root, as far as its parents are there."""
    parents = {each.event.contract_id: each.parent_id for each in found}
    depths: dict[str, int] = {}
    for number in sorted(parents):  # parents have smaller ids than their children
        parent = parents[number]
        depths[number] = depths.get(parent, 0) + 1 if parent else 0
    return depths


def _line(entry: TraceEntry, at: float, depth: int) -> Text:
    event = entry.event
    clock = time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at * 1000) % 1000:03d}"
    line = Text()
    line.append(f"{clock}  {event.contract_id}  {'  ' * depth}", "bright_black")
    line.append(text.printable(_who(entry)), "bold")
    line.append(" ")
    word, style = _did(entry)
    line.append(text.printable(word), style)
    if entry.detail:
        line.append(f": {text.shortened(entry.detail, _DETAIL)}")
    return line


def _who(entry: TraceEntry) -> str:
    return "mesh" if entry.by_kind == ParticipantKind.PARTICIPANT_KIND_MESH else entry.by


def _did(entry: TraceEntry) -> tuple[str, str]:
    """What was done, and its colour."""
    event = entry.event
    match event.type:
        case EventType.EVENT_TYPE_ACCEPTED:
            return f"asked for {event.capability}", ""
        case EventType.EVENT_TYPE_LEASED:
            return f"handed it to {event.agent}", "bright_black"
        case EventType.EVENT_TYPE_STARTED:
            return "started", "cyan"
        case EventType.EVENT_TYPE_REQUEUED:
            by_agent = entry.by_kind == ParticipantKind.PARTICIPANT_KIND_AGENT
            word = "failed" if by_agent else f"took it back from {event.agent}"
            return f"{word}, and it is queued again ({event.code})", "yellow"
        case EventType.EVENT_TYPE_PARKED:
            return "asked a person", "magenta"
        case EventType.EVENT_TYPE_ANSWERED:
            return "answered", "magenta"
        case EventType.EVENT_TYPE_ENDED:
            state = state_name(event.state).lower().replace("_", " ")
            code = f" ({event.code})" if event.code else ""
            return f"ended it: {state}{code}", STATE_STYLES.get(state, "")
    return EventType.Name(event.type).lower(), ""
