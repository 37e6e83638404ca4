"""`muster contracts watch`: what happens, a line for each thing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from muster.agent import watching
from muster.agent.asking import state_name
from muster.cli import exits, text
from muster.cli.contracts import find_contract
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json_line, say, state_text


async def watch_contracts(
    place: Place, named: str, capabilities: Sequence[str], root_id: str, as_json: bool
) -> int:
    """Follows one contract to its end, or all that fit until Ctrl-C.

    1 when the one contract ends without output.
    """
    async with connected(place) as client:
        if not named:
            if not as_json:
                say("watching; Ctrl-C ends it", style="bright_black")
            async for change in client.watch(capabilities=list(capabilities), root_id=root_id):
                print_json_line(_as_json(change)) if as_json else _print(change, many=True)
            return exits.OK
        contract = await find_contract(client, named)
        is_past = contract.HasField("response")
        async for update in client.follow(contract.id):
            if as_json:
                print_json_line(_as_json(update))
            else:
                _print(update, many=False, is_past=is_past)
            if isinstance(update, watching.Ended):
                return exits.OK if _succeeded(update) else exits.FAILED
    return exits.OK


def _succeeded(ended: watching.Ended) -> bool:
    return state_name(ended.response.state) == "SUCCEEDED"


def _as_json(update: watching.Update) -> dict[str, Any]:
    if isinstance(update, watching.Ended):
        return {"kind": "response", **message_json(update.response)}
    fields: dict[str, Any] = asdict(update)
    if isinstance(update, watching.Output):
        fields["value"] = _plain(update.value)
    return {"kind": type(update).__name__.lower(), **fields}


def _plain(value: Any) -> Any:
    return value if _is_json(value) else text.compact_of(value)


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | dict)


def _print(update: watching.Update, *, many: bool, is_past: bool = False) -> None:
    if isinstance(update, watching.Ended):
        return  # the change before it has said so
    # What has no time of its own happens now, unless all of it has happened before.
    at = getattr(update, "time", None if is_past else time.time())
    line = Text("            " if at is None else _stamp(at), style="bright_black")
    line.append("  ")
    match update:
        case watching.Change():
            _add_change(line, update, many)
        case watching.Log():
            line.append(f"{update.level.lower():<10} {text.printable(update.message)}", "default")
        case watching.Progress():
            share = f"{update.fraction:.0%}" if update.fraction >= 0 else "?"
            line.append(f"{'progress':<10} {share} {text.printable(update.message)}", "cyan")
        case watching.Output():
            shown = text.shortened(text.compact_of(update.value), 2000)
            line.append(f"{'output':<10} {shown}", "default")
        case watching.Restarted():
            line.append(f"{'retry':<10} what was put out before does not count", "yellow")
        case watching.Missing():
            line.append(f"{'gap':<10} some items are no longer kept", "yellow")
    out().print(line, soft_wrap=True)


def _stamp(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at * 1000) % 1000:03d}"


def _add_change(line: Text, change: watching.Change, many: bool) -> None:
    if many:
        line.append(f"{change.contract_id}  ", "default")
    line.append(f"{change.type.lower():<10} ", "default")
    if change.type == "ENDED":
        line.append_text(state_text(change.state))
        line.append(" ")
    if many:
        line.append(f"{change.capability} ", "default")
    line.append(" ".join(part for part in (change.agent, change.code) if part), "bright_black")
