"""Where commands write: answers to stdout, everything else to stderr; tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from rich.console import Console
from rich.text import Text

# Wide enough that nothing is cut where no person's window limits it.
_WIDTH_ELSEWHERE = 400
_GAP = 2
_COLUMN_COMFORT = 16
_COLUMN_MIN = 8

STATE_STYLES = {
    "serving": "green",
    "not serving": "yellow",
    "not there": "red",
    "running": "cyan",
    "leased": "cyan",
    "queued": "yellow",
    "waiting": "yellow",
    "parked": "magenta",
    "paused": "magenta",
    "unwinding": "yellow",
    "pending": "bright_black",
    "skipped": "bright_black",
    "undone": "yellow",
    "succeeded": "green",
    "ready": "green",
    "failed": "red",
    "dead lettered": "bold red",
    "expired": "red",
    "lost": "red",
    "refused": "red",
    "cancelled": "bright_black",
    "draining": "yellow",
    "stopping": "yellow",
    "stopped": "bright_black",
    "active": "green",
    "finished": "bright_black",
    "started": "green",
    "missed": "red",
}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leaves it to whoever runs the command; rich would end the process with 1."""
        raise BrokenPipeError


@cache
def out() -> Console:
    """For the answer."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """For everything that is not the answer."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_ELSEWHERE
    return _Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=False)


def say(text: str, style: str = "") -> None:
    """Tells the person something that is not the answer."""
    err().print(text, style=style, soft_wrap=True)


def complain(message: str, next_command: str = "") -> None:
    """Says what is wrong, and what to do next."""
    text = Text()
    text.append("muster: ", style="bold red")
    text.append(message)
    if next_command:
        text.append(f"\n{next_command}", style="bright_black")
    err().print(text, soft_wrap=True)


def print_json(value: Any) -> None:
    """An answer for programs; indented when a person reads it."""
    if sys.stdout.isatty():
        out().print_json(json.dumps(value), ensure_ascii=False)
    else:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def print_json_line(value: Any) -> None:
    """One of many answers for programs: a line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def state_text(state: str) -> Text:
    """A state in its colour."""
    word = state.lower().replace("_", " ")
    return Text(word, style=STATE_STYLES.get(word, ""))


Row = list[str | Text]


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Text:
    """A table without lines between its cells.

    The values of a column "<NAME" are cut where the window is too narrow; those of ">NAME" are
    aligned to the right.
    """
    names = [Text(column.lstrip("<>"), style="bright_black") for column in columns]
    held = [names, *([cell if isinstance(cell, Text) else Text(cell) for cell in r] for r in rows)]
    widths = [max(row[at].cell_len for row in held) for at in range(len(columns))]
    flexible = [at for at, column in enumerate(columns) if column.startswith("<")]
    widths = fit(widths, flexible, out().width - _GAP * (len(columns) - 1))
    to_right = [column.startswith(">") for column in columns]
    lines = [_table_line(row, widths, to_right) for row in held]
    made = Text("\n", no_wrap=True, overflow="crop").join(lines)
    made.no_wrap, made.overflow = True, "crop"
    return made


def _table_line(row: Sequence[Text], widths: Sequence[int], to_right: Sequence[bool]) -> Text:
    line = Text()
    for at, (cell, width, right) in enumerate(zip(row, widths, to_right, strict=True)):
        cut = cell.copy()
        cut.truncate(width, overflow="ellipsis")
        space = " " * (width - cut.cell_len)
        line.append(space if right else "").append_text(cut)
        if at < len(widths) - 1:
            line.append(("" if right else space) + " " * _GAP)
    line.rstrip()
    return line


def without_empty_last(columns: list[str], rows: list[Row]) -> tuple[list[str], list[Row]]:
    """The same without its last column, if there is nothing in it."""
    if any(row[-1] for row in rows):
        return columns, rows
    return columns[:-1], [row[:-1] for row in rows]


def fit(widths: Sequence[int], flexible: Sequence[int], available: int) -> list[int]:
    """Column widths that fit: of the flexible ones the last give way first."""
    fitted = list(widths)
    over = sum(fitted) - available
    for least in (_COLUMN_COMFORT, _COLUMN_MIN):
        for at in reversed(flexible):
            taken = max(0, min(over, fitted[at] - least))
            fitted[at] -= taken
            over -= taken
    return fitted
