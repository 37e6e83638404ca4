"""`muster workflow watch`: a run's journal, a line for each entry."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from rich.text import Text

from muster.cli import exits, text
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import STATE_STYLES, out, print_json_line
from muster.cli.workflow_runs import find_run
from muster.cli.workflow_states import run_state
from muster.v1.workflow_run_pb2 import RunState, StepState
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.response_pb2 import Failure
    from muster.v1.workflow_run_pb2 import ItemEnded, RunEvent, StepBegun, WorkflowRun


async def watch_run(place: Place, named: str, as_json: bool) -> int:
    """Follows a run to its end; 1 when that is not well."""
    ended: WorkflowRun | None = None
    items: dict[str, int] = {}
    async with connected(place) as client:
        handle = await find_run(client, named)
        async with aclosing(handle.frames()) as frames:
            async for frame in frames:
                for event in frame.events:
                    if as_json:
                        print_json_line(message_json(event))
                    else:
                        out().print(line_of(event, items), soft_wrap=True)
                if frame.HasField("ended"):
                    ended = frame.ended
    return exits.OK if ended is not None and run_state(ended) == "succeeded" else exits.FAILED


def line_of(event: RunEvent, items: dict[str, int]) -> Text:
    """An entry of a journal as a line; `items` keeps how many each step has."""
    if event.HasField("begun"):
        items[event.begun.step] = event.begun.items
    for kept in event.started.kept:
        items[kept.begun.step] = kept.begun.items
    at = seconds_of_timestamp(event.time)
    stamp = time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at * 1000) % 1000:03d}"
    what, detail, style = _words(event, items)
    line = Text(f"{stamp}  ", "bright_black")
    line.append(f"{what:<11} ", style)
    line.append(text.printable(detail))
    return line


def _words(event: RunEvent, items: dict[str, int]) -> tuple[str, str, str]:
    """What happened, the rest of it, and a style."""
    match event.WhichOneof("kind"):
        case "started":
            kept = [each.begun.step for each in event.started.kept]
            return "started", f"with what {', '.join(kept)} gave back" if kept else "", ""
        case "begun":
            return _begun(event.begun)
        case "item_ended":
            return _item(event.item_ended, items.get(event.item_ended.step, 1))
        case "woken":
            return "woken", event.woken.step, ""
        case "signalled":
            return "signalled", f"{event.signalled.name} by {event.signalled.principal}", "magenta"
        case "paused":
            return "paused", f"by {event.paused.principal}", "magenta"
        case "resumed":
            return "resumed", f"by {event.resumed.principal}", ""
        case "stopped":
            by = f" by {event.stopped.principal}" if event.stopped.principal else ""
            return "stopped", _why(event.stopped.failure) + by, "yellow"
        case "retried":
            where = f"from {event.retried.step} on, " if event.retried.step else ""
            return "retried", f"{where}revision {event.retried.revision}", "yellow"
        case "ended":
            state = RunState.Name(event.ended.state).removeprefix("RUN_STATE_").lower()
            return state, _why(event.ended.failure), STATE_STYLES.get(state, "")
    return "?", f"entry {event.sequence} is of a kind that this version does not know", "yellow"


def _begun(begun: StepBegun) -> tuple[str, str, str]:
    if begun.skipped:
        return "skipped", begun.step, "bright_black"
    if begun.HasField("failure"):
        return "failed", f"{begun.step}  {_why(begun.failure)}", "red"
    items = f"  {text.counted(begun.items, 'item')}" if begun.items != 1 else ""
    return "begun", begun.step + items, "cyan"


def _item(item: ItemEnded, of: int) -> tuple[str, str, str]:
    state = StepState.Name(item.state).removeprefix("STEP_STATE_").lower()
    name = f"{item.step}[{item.index}]" if of > 1 else item.step
    by = f"by {item.principal}" if item.principal else item.contract_id or item.run_id
    what = "undone" if item.compensation and state == "succeeded" else state
    said = "  ".join(part for part in (name, by, _why(item.failure)) if part)
    return what, said, STATE_STYLES.get(what, "")


def _why(failure: Failure) -> str:
    parts = (failure.code, text.shortened(failure.message, 200))
    return ": ".join(part for part in parts if part)
