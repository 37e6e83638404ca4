"""`muster workflow show`: a run on a page, with its steps as a picture."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from muster.cli import exits, text
from muster.cli.inbox_words import example_of
from muster.cli.messages import message_json, payload_line
from muster.cli.place import Place, connected
from muster.cli.terminal import err, out, print_json, state_text
from muster.cli.workflow_boxes import drawn
from muster.cli.workflow_following import follow
from muster.cli.workflow_runs import engine_name, find_run
from muster.cli.workflow_states import is_over, run_seconds, run_state, step_state
from muster.v1.workflow_run_pb2 import STEP_STATE_RUNNING
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.v1.inbox_service_pb2 import InboxEntry
    from muster.v1.payload_pb2 import Payload
    from muster.v1.workflow_run_pb2 import StepItem, StepRun, WorkflowRun

PICTURE_WIDTH_MAX = 120  # beyond, an eye does not find the next line
_ITEMS_NAMED = 5
_OUTPUT_LINES = 40
_QUESTIONS_MAX = 20
_REST_LINES = 12  # of a page beside the picture


@dataclass
class Page:
    """All that is known about a run."""

    run: WorkflowRun
    questions: list[InboxEntry] = field(default_factory=list)
    signals: dict[str, str] = field(default_factory=dict)
    # What steps that wait for a signal wait for.


async def show_run(place: Place, named: str, as_json: bool, *, ascii_only: bool) -> int:
    """Shows a run."""
    async with connected(place) as client:
        page = Page(await (await find_run(client, named)).get())
        page.questions = await _questions(client, page.run)
        page.signals = await _signals_of(client, page.run)
    if as_json:
        made = message_json(page.run)
        made["questions"] = [message_json(entry) for entry in page.questions]
        print_json(made)
    else:
        _print(page, ascii_only=ascii_only)
    return exits.OK


def _print(page: Page, *, ascii_only: bool) -> None:
    console = out()
    width = min(console.width, PICTURE_WIDTH_MAX) if console.is_terminal else 80
    ascii_only = ascii_only or not can_draw(console)
    for part in page_parts(page, time.time(), width, ascii_only=ascii_only):
        console.print(part, soft_wrap=True)


def can_draw(console: Console) -> bool:
    """Whether there is more than ASCII."""
    return console.encoding.lower().startswith("utf")


async def _questions(client: Client, run: WorkflowRun) -> list[InboxEntry]:
    """What waits for a person, if anything does."""
    if not any(step_state(step) == "waiting" and step.action == "gate" for step in run.steps):
        return []
    return [entry async for entry in client.inbox.list(run.id, most=_QUESTIONS_MAX)]


async def _signals_of(client: Client, run: WorkflowRun) -> dict[str, str]:
    """The signals that steps wait for now."""
    waiting = {step.name for step in run.steps if _waits(step)}
    if not waiting:
        return {}
    steps = (await client.workflows.get(run.workflow, run.version)).workflow.steps
    return {s.name: s.wait.signal for s in steps if s.name in waiting and s.wait.signal}


def _waits(step: StepRun) -> bool:
    return step_state(step) == "waiting" and step.action != "gate"


# --- following ------------------------------------------------------------------------------------


async def watch_page(place: Place, named: str, *, ascii_only: bool) -> int:
    """Shows a run until it has ended; 1 when that was not well."""
    async with connected(place) as client:
        handle = await find_run(client, named)
        page = Page(await handle.get())
        view = _LivePage(page, ascii_only=ascii_only or not can_draw(out()))
        console = err()
        if console.is_terminal:
            with Live(view, console=console, refresh_per_second=4, transient=True):
                page.run = await follow(handle, view.tell)
        else:
            page.run = await follow(handle, view.tell)
        page.questions = []
        _print(page, ascii_only=ascii_only)
    return exits.OK if run_state(page.run) == "succeeded" else exits.FAILED


class _LivePage:
    """Rendered again and again by rich."""

    def __init__(self, page: Page, *, ascii_only: bool) -> None:
        self._page = page
        self._ascii_only = ascii_only

    def tell(self, run: WorkflowRun) -> None:
        self._page.run = run

    def __rich__(self) -> RenderableType:
        console = err()
        parts = page_parts(
            self._page,
            time.time(),
            min(console.width, PICTURE_WIDTH_MAX),
            ascii_only=self._ascii_only,
            height=console.height - _REST_LINES,
        )
        return Group(*parts)


# --- the page -------------------------------------------------------------------------------------


def page_parts(
    page: Page, now: float, width: int, *, ascii_only: bool, height: int | None = None
) -> Iterator[Text]:
    """The page from top to bottom. Pure."""
    run = page.run
    yield _headline(run)
    for fact in _facts(run, now):
        yield Text(fact, "bright_black")
    yield Text()
    yield drawn(run.steps, width, now, ascii_only=ascii_only, height=height)
    for step in run.steps:
        yield from _failures(step)
    yield from _asked(page)
    yield from _waited_for(page)
    if run.HasField("input"):
        yield from _section("input", [payload_line(run.input, 300)])
    yield from _outcome(run)


def _headline(run: WorkflowRun) -> Text:
    line = Text("run ")
    line.append(run.id, style="bold")
    line.append(f"  {run.workflow} {run.version}  ")
    line.append_text(state_text(run_state(run)))
    return line


def _facts(run: WorkflowRun, now: float) -> Iterator[str]:
    started = seconds_of_timestamp(run.start_time)
    age = text.age(now - started)
    when = f"started {text.clock(started, now)} ({age if age == 'now' else age + ' ago'})"
    took = text.duration(run_seconds(run, now))
    spent = f"took {took}" if run.HasField("end_time") else f"for {took}"
    parts = [when, spent, f"engine {engine_name(run)}"]
    if run.revision:
        parts.append(f"revision {run.revision}")
    yield " · ".join(parts)
    parts = [f"started by {run.principal} as {run.start_id}"]
    if run.conversation_id:
        parts.append(f"conversation {run.conversation_id}")
    if not is_over(run):
        left = seconds_of_timestamp(run.deadline) - now
        parts.append(f"deadline in {text.duration(left)}" if left > 0 else "deadline passed")
    yield " · ".join(parts)
    if run.parent_id:
        yield f"step {run.parent_step} of run {run.parent_id}"
    if run.forked_from:
        yield f"forked from run {run.forked_from}, from {run.forked_step} on"


def _section(title: str, lines: list[str], style: str = "") -> Iterator[Text]:
    yield Text()
    yield Text(title, "bold")
    for line in lines:
        yield Text(f"  {text.printable(line)}", style)


def _failures(step: StepRun) -> Iterator[Text]:
    """Why a step, or what items of it, failed."""
    failed = [item for item in step.items if item.HasField("failure")]
    if step.items_total > 1 and failed:
        count = f"{step.items_failed} of {step.items_total} items"
        lines = [f"{count} have not succeeded"]
        for code, number in Counter(item.failure.code for item in failed).most_common(5):
            these = [item for item in failed if item.failure.code == code]
            names = text.listed((str(item.index) for item in these), _ITEMS_NAMED)
            message = text.shortened(these[0].failure.message, 120)
            lines.append(f"{code} ×{number} (item {names}): {message}")
            if look := _look_at(these[0].contract_id, these[0].run_id):
                lines.append(f"look closer: {look}")
        yield from _section(f"step {step.name}", lines, "red")
    elif step_state(step) == "failed":
        item = next(iter(step.items), None)
        look = _look_at(item.contract_id, item.run_id) if item is not None else ""
        lines = [f"{step.failure.code}: {text.shortened(step.failure.message, 300)}"]
        lines += [f"look closer: {look}"] if look else []
        yield from _section(f"step {step.name}", lines, "red")


def _look_at(contract_id: str, run_id: str) -> str:
    if contract_id:
        return f"muster contracts show {contract_id}"
    return f"muster workflow show {run_id}" if run_id else ""


def _asked(page: Page) -> Iterator[Text]:
    """Gates that wait, and how to answer."""
    run = page.run
    known = {entry.question.id: entry.question for entry in page.questions}
    for step in run.steps:
        if step_state(step) != "waiting" or step.action != "gate":
            continue
        number = f"{step.name}.{step.revision}"
        question = known.get(number)
        example = example_of(question) if question is not None else "VALUE"
        lines = [text.shortened(question.text, 300)] if question is not None else []
        lines.append(f"answer with: muster answer {run.id}/{number} {example}")
        yield from _section(f"question {number}", lines, "magenta")


def _waited_for(page: Page) -> Iterator[Text]:
    """Signals that steps wait for, and contracts and runs that are under way."""
    run = page.run
    lines = [
        f"{step} waits for a signal: muster workflow signal {run.id} {name}"
        for step, name in page.signals.items()
    ]
    for step in run.steps:
        item = next((item for item in step.items if _goes_on(item)), None)
        if item is not None and (look := _look_at(item.contract_id, item.run_id)):
            lines.append(f"{step.name} is under way: {look}")
    if lines:
        yield from _section("now", lines, "cyan")


def _goes_on(item: StepItem) -> bool:
    return item.state == STEP_STATE_RUNNING


def _outcome(run: WorkflowRun) -> Iterator[Text]:
    if run.HasField("failure"):
        line = f"{run.failure.code}: {run.failure.message}"
        hint = f"go on with: muster workflow retry {run.id}"
        yield from _section("failure", [line, hint] if is_over(run) else [line], "red")
    if run.HasField("output"):
        yield from _section("output", _output_lines(run.output, run.id))


def _output_lines(payload: Payload, run_id: str) -> list[str]:
    if payload.WhichOneof("content") != "json":
        return [payload_line(payload, 2000)]
    from muster.wire.jsontext import json_value

    lines = text.indented(json_value(payload.json)).splitlines()
    more = len(lines) - _OUTPUT_LINES
    if more > 0:
        lines[_OUTPUT_LINES:] = [f"… {more} more lines: muster workflow show {run_id} -o json"]
    return lines
