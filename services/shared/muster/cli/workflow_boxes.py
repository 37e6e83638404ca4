"""A run's steps as boxes of a picture, and as the lines of a list where a picture has no place.

Pure; `now` is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.text import Text

from muster.cli import text
from muster.cli.terminal import STATE_STYLES
from muster.cli.workflow_nets import TooWide
from muster.cli.workflow_picture import LINE_STYLE, Box, Line, picture
from muster.cli.workflow_states import legend, sign, step_detail, step_state

if TYPE_CHECKING:
    from muster.v1.workflow_run_pb2 import StepRun

STEPS_DRAWN_MAX = 100  # beyond, nobody would find anything in the picture
INNER_MIN, INNER_MAX = 14, 22  # columns of text in a box
MUTED = "bright_black"
_DRAB = ("pending", "skipped", "cancelled")


def drawn(
    steps: Sequence[StepRun],
    width: int,
    now: float,
    *,
    ascii_only: bool = False,
    height: int | None = None,
) -> Text:
    """The steps and what depends on what, with what the signs mean below.

    A list, where the picture would be wider than `width` columns or higher than `height` lines.
    """
    made = Text(no_wrap=True, overflow="crop")
    for line in _lines(steps, width, now, ascii_only=ascii_only, height=height):
        for part, style in line:
            made.append(part, style=_look(style))
        made.append("\n")
    made.append(legend(map(step_state, steps), width, ascii_only=ascii_only), style=MUTED)
    return made


def _lines(
    steps: Sequence[StepRun], width: int, now: float, *, ascii_only: bool, height: int | None
) -> list[Line]:
    boxes = [_box(step, now, ascii_only=ascii_only) for step in steps[: STEPS_DRAWN_MAX + 1]]
    if len(boxes) <= STEPS_DRAWN_MAX:
        with suppress(TooWide):
            lines = picture(boxes, width, ascii_only=ascii_only)
            if height is None or len(lines) <= height:
                return lines
    return _list_of(steps, width, now, ascii_only=ascii_only)


def _look(style: str) -> str:
    if style == LINE_STYLE:
        return MUTED
    state, _, part = style.partition(" ")
    if part == "detail" and state in ("succeeded", *_DRAB):
        return MUTED
    return STATE_STYLES.get(state, "")


def _box(step: StepRun, now: float, *, ascii_only: bool) -> Box:
    """As wide as its name asks for: a picture that changes keeps its shape."""
    state = step_state(step)
    inner = min(max(len(step.name) + 2, INNER_MIN), INNER_MAX)
    mark = sign(state, ascii_only=ascii_only)
    name = text.shortened(step.name, inner - 2)
    detail = step_detail(step, now, inner, ascii_only=ascii_only)
    lines = ((f"{mark} {name}".ljust(inner), state), (detail, f"{state} detail"))
    return Box(step.name, tuple(step.depends_on), lines, state)


def _list_of(steps: Sequence[StepRun], width: int, now: float, *, ascii_only: bool) -> list[Line]:
    """One step a line, in the order of the definition."""
    longest = min(max(len(step.name) for step in steps), 40)
    lines: list[Line] = []
    for step in steps:
        state = step_state(step)
        mark = sign(state, ascii_only=ascii_only)
        detail = step_detail(step, now, ascii_only=ascii_only)
        after = f"after {text.listed(step.depends_on, 3)}" if step.depends_on else ""
        rest = text.shortened(f"{detail:<16}  {after}".strip(), max(8, width - longest - 4))
        name = text.shortened(step.name, longest).ljust(longest)
        lines.append([(f"{mark} {name}  ", state), (rest, f"{state} detail")])
    return lines
