"""How runs and their steps look in a line of text. Pure; `now` is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.cli import text
from muster.v1.workflow_run_pb2 import RunState, StepState
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.timestamp_pb2 import Timestamp

    from muster.v1.workflow_run_pb2 import StepRun, WorkflowRun

UNDONE = "undone"
# Each state in its word, its sign, and its sign where there is only ASCII.
SIGNS = {
    "pending": ("·", "."),
    "running": ("▶", ">"),
    "waiting": ("?", "?"),
    "succeeded": ("✓", "+"),
    "failed": ("✗", "x"),
    "skipped": ("↷", "~"),
    "cancelled": ("–", "-"),
    UNDONE: ("↺", "<"),
}
OVER = ("SUCCEEDED", "FAILED", "CANCELLED")


def run_state(run: WorkflowRun) -> str:
    """A run's state in a word, for people."""
    word = RunState.Name(run.state).removeprefix("RUN_STATE_").lower()
    return "paused" if run.paused and word == "running" else word


def is_over(run: WorkflowRun) -> bool:
    """Whether it has ended, and will not go on by itself."""
    return RunState.Name(run.state).removeprefix("RUN_STATE_") in OVER


def step_state(step: StepRun) -> str:
    """A step's state in a word, for people."""
    if step.compensated:
        return UNDONE
    return StepState.Name(step.state).removeprefix("STEP_STATE_").lower()


def sign(state: str, *, ascii_only: bool = False) -> str:
    """The character that stands for a step's state."""
    return SIGNS[state][ascii_only]


def legend(states: Iterable[str], width: int, *, ascii_only: bool = False) -> str:
    """What the signs mean, of those that are there, in lines of at most so many columns."""
    there = set(states)
    words = [f"{sign(s, ascii_only=ascii_only)} {s}" for s in SIGNS if s in there]
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 2 + len(word) > width:
            lines.append("")
        lines[-1] += f"  {word}" if lines[-1] else word
    return "\n".join(lines)


def seconds_between(start: Timestamp, end: Timestamp | None, now: float) -> float:
    """Seconds from one instant to another, or to now."""
    until = now if end is None else seconds_of_timestamp(end)
    return max(0.0, until - seconds_of_timestamp(start))


def step_seconds(step: StepRun, now: float) -> float | None:
    """How long a step has taken, so far; None when it has not begun, or nobody knows its end."""
    if not step.HasField("start_time"):
        return None
    if step.HasField("end_time"):
        return seconds_between(step.start_time, step.end_time, now)
    return seconds_between(step.start_time, None, now) if step_state(step) in _GOES_ON else None


_GOES_ON = ("running", "waiting")


def run_seconds(run: WorkflowRun, now: float) -> float:
    """How long a run has taken, so far."""
    end = run.end_time if run.HasField("end_time") else None
    return seconds_between(run.start_time, end, now)


def items_ended(step: StepRun) -> int:
    """How many items of a step have ended."""
    return step.items_succeeded + step.items_failed


def has_items(step: StepRun) -> bool:
    """Whether a step is done for several items."""
    return step.items_total > 1


def step_detail(step: StepRun, now: float, width: int = 80, *, ascii_only: bool = False) -> str:
    """What there is to say of a step besides its name and state: how far it is, or why not.

    In at most so many columns; what matters less is left out first.
    """
    state = step_state(step)
    if state in ("skipped", "cancelled", UNDONE):
        return state
    if state == "failed" and not has_items(step):
        return text.shortened(step.failure.code, width)
    parts = []
    if has_items(step):
        parts.append(f"{items_ended(step)}/{step.items_total}")
        if step.items_failed:
            parts.append(f"{step.items_failed}{sign('failed', ascii_only=ascii_only)}")
    elif state == "waiting":
        parts.append("asks" if step.action == "gate" else "waits")
    took = step_seconds(step, now)
    if took is not None:
        parts.append(text.duration(took) if took < 60 else text.age(took))
    while len(parts) > 1 and len(" ".join(parts)) > width:
        parts.pop()
    return " ".join(parts) or text.shortened(step.action, width)
