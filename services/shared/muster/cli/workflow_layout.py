"""Where the boxes of a graph stand, and which way the lines between them take. Pure.

Rows and nets are those of `workflow_nets`. Coordinates are columns, from 0; a row is one box high,
and between rows there is a channel with as many tracks as its wires need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from muster.cli.workflow_nets import (
    GAP,
    RAIL,
    SLOT,
    Net,
    Node,
    Rows,
    Sketch,
    TooWide,
    find_rows,
    span,
)
from muster.cli.workflow_wires import Wire, faults, make_wires


@dataclass(frozen=True, slots=True)
class Row:
    """Boxes beside each other, with the columns at which lines enter, leave and pass."""

    lefts: dict[str, int]
    entries: dict[str, tuple[int, ...]]
    exits: dict[str, tuple[int, ...]]
    passing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows, and the wires of the channel after each; the last has none."""

    rows: tuple[Row, ...]
    channels: tuple[tuple[Wire, ...], ...]


def place(nodes: Sequence[Node], width: int) -> Layout:
    """Places a graph without cycles. Raises `TooWide`."""
    sketch = Sketch(nodes, width)
    rows = find_rows(sketch)
    columns = _Columns(sketch, rows)
    return columns.layout()


@dataclass(slots=True)
class _Item:
    """Something in a row that takes up columns: a box, or a net that passes."""

    width: int
    wish: float  # where its centre should be
    node: str = ""
    net: Net | None = None
    left: int = 0
    shift: int = 0  # of the line in the middle

    @property
    def centre(self) -> int:
        return self.left + self.width // 2 + self.shift


class _Columns:
    """Finds columns row by row, from the top."""

    def __init__(self, sketch: Sketch, rows: Rows) -> None:
        self._sketch = sketch
        self._rows = rows
        self._row = rows.row
        self._rails = {net: RAIL * at for at, net in enumerate(rows.left)}
        first = sketch.width - RAIL * len(rows.right) + RAIL - 1
        self._rails |= {net: first + RAIL * at for at, net in enumerate(rows.right)}
        self._items: list[list[_Item]] = []
        self._tops: list[dict[Net, list[int]]] = []  # by row: where nets leave it
        self._exits: list[dict[str, tuple[int, ...]]] = []
        self._entries: list[dict[str, tuple[int, ...]]] = []
        self._bottoms: list[dict[Net, list[int]]] = []  # by row: where nets come to it

    def layout(self) -> Layout:
        channels: list[tuple[Wire, ...]] = []
        for at in range(len(self._rows.names)):
            self._place_row(at)
            self._enter(at)
            if at:
                channels.append(self._channel(at))
            self._leave(at)
        rows = [
            Row(
                {item.node: item.left for item in items if item.node},
                self._entries[at],
                self._exits[at],
                tuple(self._passing(at).values()),
            )
            for at, items in enumerate(self._items)
        ]
        return _cropped(Layout(tuple(rows), (*channels, ())))

    def _place_row(self, at: int) -> None:
        boxes = [
            _Item(self._sketch.nodes[name].width, self._wish(at, name), node=name)
            for name in self._rows.names[at]
        ]
        lines = [
            _Item(SLOT, self._wish_of_net(at, net), net=net)
            for net in self._sketch.nets
            if net not in self._rails and self._passes(net, at)
        ]
        items = sorted([*boxes, *lines], key=lambda item: item.wish)
        low = RAIL * len(self._rows.left)
        high = self._sketch.width - RAIL * len(self._rows.right)
        _spread(items, low, high)
        self._items.append(items)

    def _wish(self, at: int, name: str) -> float:
        """Below the middle of what it depends on."""
        wishes = [
            self._wish_of_net(at, net)
            for net in self._sketch.nets
            if name in net.sinks and net not in self._rails
        ]
        return sum(wishes) / len(wishes) if wishes else self._sketch.width / 2

    def _wish_of_net(self, at: int, net: Net) -> float:
        columns = self._tops[at - 1].get(net, []) if at else []
        return sum(columns) / len(columns) if columns else self._sketch.width / 2

    def _passes(self, net: Net, at: int) -> bool:
        first, last = span(net, self._row)
        return first < at < last

    def _passing(self, at: int) -> dict[Net, int]:
        rails = {net: x for net, x in self._rails.items() if self._passes(net, at)}
        return rails | {item.net: item.centre for item in self._items[at] if item.net is not None}

    def _channel(self, at: int) -> tuple[Wire, ...]:
        """The wires above a row."""
        wires = make_wires(self._tops[at - 1], self._bottoms[at])
        if faults(wires)[0]:
            self._enter(at, apart=True)
            wires = make_wires(self._tops[at - 1], self._bottoms[at])
        if faults(wires)[0]:
            raise TooWide
        return wires

    def _enter(self, at: int, *, apart: bool = False) -> None:
        """Where each net comes to the row: straight from above where that can be.

        `apart` from all columns at which other nets leave the row above.
        """
        del self._entries[at:], self._bottoms[at:]
        above = self._tops[at - 1] if at else {}
        bottoms: dict[Net, list[int]] = {}
        for item in self._items[at]:
            if item.net is not None:
                others = _columns_but(above, item.net)
                wanted = [x - item.centre for x in above[item.net]]
                shifts = sorted((-1, 0, 1), key=lambda shift: (shift not in wanted, abs(shift)))
                free = (x for x in shifts if not apart or item.centre + x not in others)
                item.shift = next(free, 0)
        for net, column in self._passing(at).items():
            bottoms.setdefault(net, []).append(column)
        entries: dict[str, tuple[int, ...]] = {}
        for item in self._items[at]:
            nets = [net for net in above if item.node in net.sinks]
            if not nets:
                continue
            ordered = sorted(nets, key=lambda net: sum(above[net]) / len(above[net]))
            blocked = [_columns_but(above, net) if apart else set() for net in ordered]
            entries[item.node] = _entry_columns(item, [above[net] for net in ordered], blocked)
            for net, column in zip(ordered, entries[item.node], strict=True):
                bottoms.setdefault(net, []).append(column)
        self._entries.append(entries)
        self._bottoms.append(bottoms)

    def _leave(self, at: int) -> None:
        """Where each net leaves the row: at the middle of a box, or beside it."""
        tops: dict[Net, list[int]] = {net: [x] for net, x in self._passing(at).items()}
        exits: dict[str, tuple[int, ...]] = {}
        for item in self._items[at]:
            nets = [net for net in self._sketch.nets if item.node in net.sources]
            step = 2 if 2 * len(nets) < item.width - 1 else 1
            if len(nets) * step > item.width - 2:
                raise TooWide
            first = item.centre - step * (len(nets) - 1) // 2
            columns = tuple(first + step * number for number in range(len(nets)))
            # What goes on farthest leaves outermost, where it crosses least.
            for net, column in zip(sorted(nets, key=self._reach), columns, strict=True):
                tops.setdefault(net, []).append(column)
            if columns:
                exits[item.node] = columns
        self._tops.append(tops)
        self._exits.append(exits)

    def _reach(self, net: Net) -> tuple[int, int]:
        """From left to right: rails at the left, nearest rows, farther ones, rails at the right."""
        side = -1 if net in self._rows.left else 1 if net in self._rows.right else 0
        return side, max(self._row[name] for name in net.sinks)


def _columns_but(columns: Mapping[Net, Sequence[int]], net: Net) -> set[int]:
    """The columns of all nets but one."""
    return {x for other, xs in columns.items() if other != net for x in xs}


def _entry_columns(
    item: _Item, wanted: Sequence[Sequence[int]], blocked: Sequence[set[int]]
) -> tuple[int, ...]:
    """The columns of a box at which nets enter it, from left to right: straight from above, or
    about the middle."""
    found: list[int] = []
    low, high = item.left + 1, item.left + item.width - 2
    middle = item.centre - (len(wanted) - 1)
    for number, (above, not_at) in enumerate(zip(wanted, blocked, strict=True)):
        last = high - 2 * (len(wanted) - 1 - number)
        free = [x for x in range(low, last + 1) if x not in not_at]
        straight = [x for x in above if x in free]
        if not free:
            raise TooWide
        wish = item.centre if straight else middle + 2 * number
        found.append(min(straight or free, key=lambda x: (abs(x - wish), x)))
        low = found[-1] + 2
    return tuple(found)


def _spread(items: Sequence[_Item], low: int, high: int) -> None:
    """Puts each item as near to its wish as their order and the gaps allow (by least squares).

    Items that would overlap form blocks, which stand where the mean of their wishes is.
    """
    if sum(item.width + GAP for item in items) - GAP > high - low:
        raise TooWide
    offset, wishes = 0, []
    for item in items:
        wishes.append(item.wish - item.width // 2 - offset)
        offset += item.width + GAP
    room = high - low - (offset - GAP)
    blocks: list[tuple[float, int]] = []  # sum of wishes, count
    for wish in wishes:
        blocks.append((wish, 1))
        while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
            total, count = blocks.pop()
            blocks[-1] = (blocks[-1][0] + total, blocks[-1][1] + count)
    starts = [
        min(max(round(_mean(block)), low), low + room) for block in blocks for _ in range(block[1])
    ]
    offset = 0
    for item, start in zip(items, starts, strict=True):
        item.left = start + offset
        offset += item.width + GAP


def _mean(block: tuple[float, int]) -> float:
    return block[0] / block[1]


def _cropped(layout: Layout) -> Layout:
    """The same, beginning at column 0."""
    lefts = [left for row in layout.rows for left in row.lefts.values()]
    lefts += [x for row in layout.rows for x in row.passing]
    lefts += [x for wires in layout.channels for wire in wires for x in wire.tops + wire.bottoms]
    shift = min(lefts, default=0)

    def moved(columns: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(x - shift for x in columns)

    rows = tuple(
        Row(
            {name: left - shift for name, left in row.lefts.items()},
            {name: moved(columns) for name, columns in row.entries.items()},
            {name: moved(columns) for name, columns in row.exits.items()},
            moved(row.passing),
        )
        for row in layout.rows
    )
    channels = tuple(
        tuple(Wire(moved(wire.tops), moved(wire.bottoms), wire.track) for wire in wires)
        for wires in layout.channels
    )
    return Layout(rows, channels)
