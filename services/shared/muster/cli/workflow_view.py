"""What a terminal shows while a run goes on: its steps, one a line, gone at the end.

Without a terminal, a line whenever a step has begun or ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.text import Text

from muster.cli import text
from muster.cli.terminal import STATE_STYLES, err, say, state_text
from muster.cli.workflow_states import (
    has_items,
    items_ended,
    run_seconds,
    run_state,
    sign,
    step_detail,
    step_seconds,
    step_state,
)

if TYPE_CHECKING:
    from muster.v1.workflow_run_pb2 import StepRun, WorkflowRun

_BAR_COLUMNS = 24
_FAILURES_SHOWN = 3


class RunView:
    """Shows a run while it is alive inside `with`; quiet, it shows nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._run: WorkflowRun | None = None
        self._states: dict[str, str] = {}
        self._live: Live | None = None
        if err().is_terminal and not quiet:
            self._live = Live(self, console=err(), refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, message: str) -> None:
        """A line that stays."""
        if self._quiet:
            return
        if self._live is not None and self._live.is_started:
            self._live.console.print(message, soft_wrap=True)
        else:
            say(message)

    def tell(self, run: WorkflowRun) -> None:
        """The run is so now."""
        self._run = run
        if self._live is not None or self._quiet:
            return
        now = time.time()
        for step in run.steps:
            state = step_state(step)
            if state not in ("pending", self._states.get(step.name, "pending")):
                say(_told(step, state, now))
            self._states[step.name] = state

    def __rich__(self) -> Text:
        if self._run is None:
            return Text()
        return Text("\n", no_wrap=True, overflow="ellipsis").join(
            live_lines(self._run, time.time(), err().height - 2)
        )


def _told(step: StepRun, state: str, now: float) -> str:
    """What a step has come to, in a line."""
    if state == "running":
        detail = text.counted(step.items_total, "item") if has_items(step) else ""
    elif state == "failed":
        detail = f"{step.failure.code}: {text.shortened(step.failure.message, 200)}"
    else:
        detail = step_detail(step, now)
    return f"{step.name}: {state}" + (f", {detail}" if detail not in ("", state) else "")


def live_lines(run: WorkflowRun, now: float, height: int = 1000) -> Iterator[Text]:
    """The run as lines, at most so many. Pure."""
    head = Text(f"{run.workflow} ", "bold")
    head.append_text(state_text(run_state(run)))
    head.append(f"  {text.duration(run_seconds(run, now))}  {run.id}", "bright_black")
    yield head
    failures = list(_failures(run))[-_FAILURES_SHOWN:]
    room = height - 2 - len(failures)
    steps = list(run.steps)
    if len(steps) > room:  # what is over can wait until the end
        steps = [step for step in steps if step_state(step) not in _QUIET][:room]
    longest = max((len(step.name) for step in run.steps), default=0)
    for step in steps:
        yield _step_line(step, min(longest, 30), now)
    yield from failures


_QUIET = ("succeeded", "skipped", "pending")


def _step_line(step: StepRun, longest: int, now: float) -> Text:
    state = step_state(step)
    line = Text(f"{sign(state)} {text.shortened(step.name, longest).ljust(longest)}  ")
    line.stylize(STATE_STYLES.get(state, ""))
    if has_items(step) and state == "running":
        line.append_text(_bar(items_ended(step) / step.items_total))
        line.append(f"  {items_ended(step)}/{step.items_total}")
        if step.items_failed:
            line.append(f"  {step.items_failed} failed", "red")
        took = step_seconds(step, now)
        line.append(f"  {text.duration(took or 0.0)}", "bright_black")
        return line
    line.append(step_detail(step, now), "bright_black")
    return line


def _bar(share: float) -> Text:
    full = round(share * _BAR_COLUMNS)
    bar = Text("━" * full, "cyan")
    return bar.append("━" * (_BAR_COLUMNS - full), "bright_black")


def _failures(run: WorkflowRun) -> Iterator[Text]:
    """What has failed so far, the newest last."""
    for step in run.steps:
        for item in step.items:
            if item.HasField("failure"):
                name = f"{step.name}[{item.index}]" if has_items(step) else step.name
                why = text.shortened(f"{item.failure.code}: {item.failure.message}", 100)
                yield Text(f"  {name}: {why}", "red")
