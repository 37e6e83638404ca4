"""`muster contracts show`: everything about a contract, on a page that reads from top to bottom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.text import Text

from muster.agent import watching
from muster.agent.asking import state_name
from muster.cli import exits, text
from muster.cli.contract_questions import show_questions
from muster.cli.contract_tree import tree_lines
from muster.cli.contracts import find_contract
from muster.cli.messages import message_json, payload_line, payload_size
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, state_text, table, without_empty_last
from muster.wire.times import seconds_of_duration, seconds_of_timestamp

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from muster.agent.client import Client
    from muster.v1.contract_pb2 import Attempt, Contract
    from muster.v1.payload_pb2 import Payload
    from muster.v1.scheduler_service_pb2 import ExplainPlacementResponse

# What an open contract has said so far comes at once; what it is yet to say is not waited for.
_HISTORY_SECONDS = 0.3
_LOGS_SHOWN = 20
_TREE_CONTRACTS_MAX = 1000
_REASONS_SHOWN = 6


@dataclass
class _Page:
    """All that is known about a contract."""

    contract: Contract
    changes: list[watching.Change] = field(default_factory=list)
    logs: list[watching.Log] = field(default_factory=list)
    progress: watching.Progress | None = None
    outputs: int = 0
    tree: list[Contract] = field(default_factory=list)
    placement: ExplainPlacementResponse | None = None


async def show_contract(place: Place, named: str, as_json: bool) -> int:
    """Shows a contract."""
    async with connected(place) as client:
        page = _Page(await find_contract(client, named))
        await _read(client, page)
    if as_json:
        print_json(_as_json(page))
    else:
        _show(page, time.time())
    return exits.OK


async def _read(client: Client, page: _Page) -> None:
    contract = page.contract
    is_open = not contract.HasField("response")
    try:
        async with asyncio.timeout(_HISTORY_SECONDS if is_open else None):
            async for update in client.follow(contract.id):
                _note(page, update)
    except TimeoutError:
        pass
    root = contract.root_id or contract.id
    page.tree = [each async for each in client.list(root_id=root, most=_TREE_CONTRACTS_MAX)]
    if state_name(contract.state) == "QUEUED":
        page.placement = await client.explain(contract.id)


def _note(page: _Page, update: watching.Update) -> None:
    match update:
        case watching.Change():
            page.changes.append(update)
        case watching.Log():
            page.logs.append(update)
        case watching.Progress():
            page.progress = update
        case watching.Output():
            page.outputs += 1


def _as_json(page: _Page) -> dict[str, Any]:
    made = message_json(page.contract)
    made["events"] = [
        {
            "sequence": change.sequence,
            "type": change.type,
            "state": change.state,
            "time": change.time,
            "agent": change.agent,
            "code": change.code,
        }
        for change in page.changes
    ]
    made["logs"] = [
        {"level": log.level, "message": log.message, "time": log.time} for log in page.logs
    ]
    made["children"] = [each.id for each in page.tree if each.parent_id == page.contract.id]
    made["placement"] = None if page.placement is None else message_json(page.placement)
    return made


# --- for people -----------------------------------------------------------------------------------


def _show(page: _Page, now: float) -> None:
    contract = page.contract
    out().print(_headline(contract))
    for line in _facts(contract, now):
        out().print(line, style="bright_black", soft_wrap=True)
    _section("request", _request_rows(contract, now))
    _show_payload(contract.request.payload)
    show_questions(contract, now)
    _show_attempts(contract)
    _show_events(page)
    if len(page.tree) > 1:
        _title("tree")
        out().print("\n".join(tree_lines(page.tree, contract.id, out().width)), no_wrap=True)
    if page.placement is not None:
        _show_placement(page.placement)
    if contract.HasField("response"):
        _show_response(contract)


def _headline(contract: Contract) -> Text:
    line = Text("contract ")
    line.append(contract.id, style="bold")
    line.append("  ")
    line.append_text(state_text(state_name(contract.state)))
    return line


def _facts(contract: Contract, now: float) -> Iterator[str]:
    accepted = seconds_of_timestamp(contract.accept_time)
    by = f"agent {contract.actor}" if contract.actor else contract.principal
    when = f"accepted {text.clock(accepted, now)}"
    age = text.age(now - accepted)
    when += " (just now)" if age == "now" else f" ({age} ago)"
    capability = contract.request.capability
    yield f"{capability.name} {capability.version}".rstrip() + f" · asked by {by}"
    parts = [when]
    if contract.HasField("end_time"):
        took = seconds_of_timestamp(contract.end_time) - accepted
        parts.append(f"took {text.duration(took)}")
    yield " · ".join(parts)
    if contract.parent_id:
        yield f"child of {contract.parent_id} · root {contract.root_id} · depth {contract.depth}"


def _title(name: str) -> None:
    out().print()
    out().print(name, style="bold")


def _section(name: str, rows: Iterable[tuple[str, str]]) -> None:
    _title(name)
    for key, value in rows:
        out().print(f"  {key:<14}{text.printable(value)}", soft_wrap=True)


def _request_rows(contract: Contract, now: float) -> Iterator[tuple[str, str]]:
    request = contract.request
    yield "id", request.request_id
    if not contract.HasField("response"):
        left = seconds_of_timestamp(request.deadline) - now
        yield "deadline", f"in {text.duration(left)}" if left > 0 else "passed"
    timeouts = [
        f"{name} {text.duration(seconds_of_duration(getattr(request.timeouts, name)))}"
        for name in ("schedule_to_start", "start_to_close", "heartbeat")
        if request.timeouts.HasField(name)
    ]
    if timeouts:
        yield "timeouts", ", ".join(timeouts)
    if request.priority:
        from muster.v1.request_pb2 import Priority

        band = Priority.Name(request.priority).removeprefix("PRIORITY_").lower()
        yield "priority", band
    if request.conversation_id:
        yield "conversation", request.conversation_id
    if request.labels:
        yield "labels", ", ".join(f"{key}={value}" for key, value in sorted(request.labels.items()))


def _show_payload(payload: Payload) -> None:
    if payload.WhichOneof("content") is None:
        return
    room = max(40, out().width - 26) if out().is_terminal else 2000
    size = text.size(payload_size(payload))
    line = payload_line(payload, room)
    suffix = f"  ({size})" if line.endswith("…") and payload.WhichOneof("content") == "json" else ""
    out().print(f"  {'payload':<14}{line}{suffix}", soft_wrap=True)


def _show_attempts(contract: Contract) -> None:
    if not contract.attempts:
        return
    _title("attempts")
    accepted = seconds_of_timestamp(contract.accept_time)
    columns = [">  #", "<AGENT", "<HOST", "OUTCOME", ">LEASED", ">RAN", "<WHY"]
    rows = [_attempt_row(each, accepted) for each in contract.attempts]
    out().print(table(*without_empty_last(columns, rows)))


def _attempt_row(attempt: Attempt, accepted: float) -> list[str | Text]:
    from muster.v1.contract_pb2 import AttemptOutcome

    outcome = AttemptOutcome.Name(attempt.outcome).removeprefix("ATTEMPT_OUTCOME_")
    leased = text.offset(seconds_of_timestamp(attempt.lease_time) - accepted)
    ran = _between(attempt, "start_time", "end_time")
    failure = attempt.failure
    why = " ".join(part for part in (failure.code, failure.message) if part)
    return [
        str(attempt.number),
        attempt.agent,
        attempt.host,
        state_text(outcome),
        leased,
        ran,
        text.shortened(why, 200),
    ]


def _between(attempt: Attempt, start: str, end: str) -> str:
    if not (attempt.HasField(start) and attempt.HasField(end)):  # type: ignore[arg-type]
        return ""
    first: Timestamp = getattr(attempt, start)
    last: Timestamp = getattr(attempt, end)
    return text.duration(max(0.0, seconds_of_timestamp(last) - seconds_of_timestamp(first)))


def _show_events(page: _Page) -> None:
    if not page.changes:
        return
    _title("events")
    accepted = seconds_of_timestamp(page.contract.accept_time)
    entries = [(change.time, _change_line(change)) for change in page.changes]
    shown = page.logs[-_LOGS_SHOWN:]
    entries += [(log.time, f"log {log.level.lower()}: {log.message}") for log in shown]
    for at, line in sorted(entries, key=lambda entry: entry[0]):
        out().print(f"  {text.offset(at - accepted):>10}  {text.printable(line)}", soft_wrap=True)
    if len(page.logs) > len(shown):
        earlier = len(page.logs) - len(shown)
        watch = f"muster contracts watch {page.contract.id}"
        hint = f"  and {text.counted(earlier, 'earlier line')} of log: {watch}"
        out().print(hint, style="bright_black")
    if page.outputs:
        out().print(f"  {text.counted(page.outputs, 'part')} of output", style="bright_black")
    if page.progress is not None and not page.contract.HasField("response"):
        share = f"{page.progress.fraction:.0%} " if page.progress.fraction >= 0 else ""
        out().print(f"  now at {share}{text.printable(page.progress.message)}", style="cyan")


def _change_line(change: watching.Change) -> str:
    words = [change.type.lower()]
    if change.type == "ENDED":
        words.append(change.state.lower().replace("_", " "))
    if change.agent:
        words.append(f"by {change.agent}" if change.type == "ENDED" else change.agent)
    if change.code:
        words.append(change.code)
    return " ".join(words)


def _show_placement(placement: ExplainPlacementResponse) -> None:
    _title("placement")
    out().print(f"  {text.printable(placement.summary)}", style="yellow", soft_wrap=True)
    for count, reason in _reasons([each.reason for each in placement.agents if not each.feasible]):
        out().print(f"  {text.counted(count, 'agent')}: {text.printable(reason)}", soft_wrap=True)


def _reasons(reasons: Sequence[str]) -> list[tuple[int, str]]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    return [(count, reason) for reason, count in ordered[:_REASONS_SHOWN]]


def _show_response(contract: Contract) -> None:
    response = contract.response
    _title("response")
    if response.HasField("failure"):
        message = text.printable(response.failure.message)
        out().print(f"  {response.failure.code}", style="red")
        if message:
            out().print(f"  {message}", soft_wrap=True)
        if response.failure.HasField("details"):
            out().print(f"  details: {payload_line(response.failure.details, 2000)}")
        return
    payload = response.payload
    if payload.WhichOneof("content") != "json":
        out().print(f"  {payload_line(payload, 2000)}")
        return
    from muster.wire.jsontext import json_value

    lines = text.indented(json_value(payload.json)).splitlines()
    for line in lines[:60]:
        out().print(f"  {text.printable(line)}", soft_wrap=True)
    if len(lines) > 60:
        hint = f"  … {len(lines) - 60} more lines: muster contracts show {contract.id} -o json"
        out().print(hint, style="bright_black")
