"""A graph of steps as lines of text: boxes, and lines between them. Pure.

A line is a list of (text, style); what a style looks like, others decide. All is drawn with
box-drawing characters, or with ASCII for terminals that have nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from muster.cli.workflow_layout import Row, place
from muster.cli.workflow_nets import Node, TooWide
from muster.cli.workflow_wires import Wire, tracks_of

Line = list[tuple[str, str]]

LINE_STYLE = "line"
BOX_WIDTH_MIN = 10
BOX_WIDTH_MAX = 26
_PADDING = 4  # columns of a box beside its text: borders and spaces


@dataclass(frozen=True, slots=True)
class Box:
    """A step: what stands in its box, line by line, and the style of each line and the border."""

    name: str
    depends_on: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    style: str = ""


def picture(boxes: Sequence[Box], width: int, *, ascii_only: bool = False) -> list[Line]:
    """The graph, at most so many columns wide. Raises `TooWide` where it cannot be."""
    widths = {box.name: _width(box) for box in boxes}
    widest = max(widths.values())
    layout = place([Node(b.name, widths[b.name], b.depends_on) for b in boxes], width)
    with suppress(TooWide):  # boxes of one width look better, where that costs no row
        equal = place([Node(b.name, widest, b.depends_on) for b in boxes], width)
        if len(equal.rows) == len(layout.rows):
            layout, widths = equal, dict.fromkeys(widths, widest)
    canvas = _Canvas({box.name: box for box in boxes}, widths)
    for row, wires in zip(layout.rows, layout.channels, strict=True):
        canvas.add_row(row)
        canvas.add_channel(wires)
    return canvas.lines(ascii_only=ascii_only)


def _width(box: Box) -> int:
    longest = max(len(text) for text, _ in box.lines)
    return max(BOX_WIDTH_MIN, min(longest + _PADDING, BOX_WIDTH_MAX))


# Directions in which a line leaves a cell.
_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_CHARACTERS = {
    _UP | _DOWN: "│",
    _LEFT | _RIGHT: "─",
    _DOWN | _RIGHT: "╭",
    _DOWN | _LEFT: "╮",
    _UP | _RIGHT: "╰",
    _UP | _LEFT: "╯",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _DOWN | _LEFT | _RIGHT: "┬",
    _UP | _LEFT | _RIGHT: "┴",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
}
_IN_ASCII = str.maketrans(dict(zip("│─╭╮╰╯├┤┬┴┼┌┐└┘…", "|-+++++++++++++.", strict=False)))


class _Canvas:
    """Cells by (line, column), from top to bottom."""

    def __init__(self, boxes: dict[str, Box], widths: dict[str, int]) -> None:
        self._boxes = boxes
        self._widths = widths
        self._cells: dict[tuple[int, int], tuple[str, str]] = {}
        self._y = 0

    def add_row(self, row: Row) -> None:
        """Boxes, and lines that pass."""
        height = max(len(self._boxes[name].lines) for name in row.lefts) + 2
        for name, left in row.lefts.items():
            self._box(name, left, height)
            for x in row.entries.get(name, ()):
                self._put(self._y, x, "┴", self._boxes[name].style)
            for x in row.exits.get(name, ()):
                self._put(self._y + height - 1, x, "┬", self._boxes[name].style)
        for x in row.passing:
            for y in range(self._y, self._y + height):
                self._put(y, x, "│", LINE_STYLE)
        self._y += height

    def _box(self, name: str, left: int, height: int) -> None:
        box, width = self._boxes[name], self._widths[name]
        inner = width - _PADDING
        rows = [*box.lines, *[("", "")] * (height - 2 - len(box.lines))]
        self._text(self._y, left, "┌" + "─" * (width - 2) + "┐", box.style)
        for at, (text, style) in enumerate(rows, self._y + 1):
            self._put(at, left, "│", box.style)
            self._text(at, left + 1, f" {_fitted(text, inner)} ", style)
            self._put(at, left + width - 1, "│", box.style)
        self._text(self._y + height - 1, left, "└" + "─" * (width - 2) + "┘", box.style)

    def add_channel(self, wires: Iterable[Wire]) -> None:
        """The lines between two rows."""
        wires = list(wires)
        height = tracks_of(wires)
        straight: dict[tuple[int, int], int] = {}
        for wire in wires:
            cells = _cells(wire, height)
            for (y, x), directions in cells.items():
                # Where two cross, the one that goes down is in front.
                if (y, x) not in straight or directions == _UP | _DOWN:
                    straight[y, x] = directions
        for (y, x), directions in straight.items():
            self._put(self._y + y, x, _CHARACTERS[directions], LINE_STYLE)
        self._y += height

    def _text(self, y: int, x: int, text: str, style: str) -> None:
        for at, character in enumerate(text, x):
            self._put(y, at, character, style)

    def _put(self, y: int, x: int, character: str, style: str) -> None:
        self._cells[y, x] = (character, style)

    def lines(self, *, ascii_only: bool) -> list[Line]:
        return [self._line(y, ascii_only) for y in range(self._y)]

    def _line(self, y: int, ascii_only: bool) -> Line:
        last = max((x for line, x in self._cells if line == y), default=-1)
        cells = [self._cells.get((y, x), (" ", "")) for x in range(last + 1)]
        line = []
        for style, run in groupby(cells, key=lambda cell: cell[1]):
            text = "".join(character for character, _ in run)
            line.append((text.translate(_IN_ASCII) if ascii_only else text, style))
        return line


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def _cells(wire: Wire, height: int) -> dict[tuple[int, int], int]:
    """The directions of a wire in each cell that it touches."""
    cells: dict[tuple[int, int], int] = {}

    def add(y: int, x: int, directions: int) -> None:
        cells[y, x] = cells.get((y, x), 0) | directions

    if wire.track is None:
        for y in range(height):
            add(y, wire.tops[0], _UP | _DOWN)
        return cells
    columns = wire.tops + wire.bottoms
    first, last = min(columns), max(columns)
    for x in range(first, last + 1):
        add(wire.track, x, (_LEFT if x > first else 0) | (_RIGHT if x < last else 0))
    for x in wire.tops:
        add(wire.track, x, _UP)
        for y in range(wire.track):
            add(y, x, _UP | _DOWN)
    for x in wire.bottoms:
        add(wire.track, x, _DOWN)
        for y in range(wire.track + 1, height):
            add(y, x, _UP | _DOWN)
    return cells
