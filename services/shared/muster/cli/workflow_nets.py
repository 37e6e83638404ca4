"""The lines of a graph, bundled into nets, and its boxes in rows. Pure.

Boxes stand in rows, by how many must follow each other before each; a layer that is too wide wraps
into several rows. Lines that lead from the same boxes to the same boxes, or all of which lead from
or to one box, are one *net*: a tree of lines, which may pass rows. A net with several rows of a
wrapped layer runs down beside the rows, as a *rail*; others pass between the boxes. Lines that
follow from others are left out: with a → b → c there is none from a to c.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

GAP = 2  # columns between boxes
SLOT = 3  # columns for a line that passes between boxes, of which it takes one
RAIL = 2  # columns of a rail


class TooWide(Exception):
    """The graph has no place in the width."""


@dataclass(frozen=True, slots=True)
class Node:
    """A box to be placed."""

    name: str
    width: int
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Net:
    """Lines that lead from each source to each sink."""

    sources: frozenset[str]
    sinks: frozenset[str]


def nets_of(depends_on: Mapping[str, Iterable[str]]) -> list[Net]:
    """The lines of a graph, bundled."""
    edges = _reduced(depends_on)
    fan_out: dict[str, int] = {}
    for befores in edges.values():
        for before in befores:
            fan_out[before] = fan_out.get(before, 0) + 1
    out: dict[str, set[str]] = {}
    into: dict[str, set[str]] = {}
    for name, befores in edges.items():
        for before in befores:
            if len(befores) > fan_out[before]:
                into.setdefault(name, set()).add(before)
            else:
                out.setdefault(before, set()).add(name)
    merged: dict[frozenset[str], set[str]] = {}
    for source, sinks in out.items():
        merged.setdefault(frozenset(sinks), set()).add(source)
    nets = [Net(frozenset(sources), sinks) for sinks, sources in merged.items()]
    merged = {}
    for sink, sources in into.items():
        merged.setdefault(frozenset(sources), set()).add(sink)
    return nets + [Net(sources, frozenset(sinks)) for sources, sinks in merged.items()]


def _reduced(depends_on: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The graph without lines that follow from others."""
    before: dict[str, set[str]] = {}

    def ancestors(name: str) -> set[str]:
        if name not in before:
            before[name] = set()
            for each in depends_on[name]:
                before[name] |= {each} | ancestors(each)
        return before[name]

    return {
        name: [
            each
            for each in dict.fromkeys(befores)
            if not any(each in ancestors(other) for other in befores if other != each)
        ]
        for name, befores in depends_on.items()
    }


# --- rows -----------------------------------------------------------------------------------------


class Sketch:
    """What is known before anything is placed."""

    def __init__(self, nodes: Sequence[Node], width: int) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.width = width
        known = {
            node.name: tuple(name for name in node.depends_on if name in self.nodes)
            for node in nodes
        }
        self.nets = nets_of(known)
        self.layer: dict[str, int] = {}
        for node in nodes:
            self._find_layer(node.name, known)

    def _find_layer(self, name: str, known: Mapping[str, tuple[str, ...]]) -> int:
        if name not in self.layer:
            befores = (self._find_layer(each, known) for each in known[name])
            self.layer[name] = max(befores, default=-1) + 1
        return self.layer[name]

    def layers(self) -> list[list[str]]:
        found: list[list[str]] = [[] for _ in range(max(self.layer.values(), default=-1) + 1)]
        for name, layer in self.layer.items():
            found[layer].append(name)
        return found


@dataclass(frozen=True, slots=True)
class Rows:
    names: list[list[str]]
    left: list[Net] = field(default_factory=list)  # rails
    right: list[Net] = field(default_factory=list)

    @property
    def row(self) -> dict[str, int]:
        return {name: at for at, names in enumerate(self.names) for name in names}


def find_rows(sketch: Sketch) -> Rows:
    """Rows that have room for the rails that their wrapping makes."""
    rows = _wrapped(sketch, Rows([]))
    while True:
        again = _wrapped(sketch, rows)
        if len(again.left) + len(again.right) <= len(rows.left) + len(rows.right):
            return again
        rows = again


def _wrapped(sketch: Sketch, before: Rows) -> Rows:
    """Each layer in as many rows as it takes, beside the rails of the try before."""
    rails = set(before.left) | set(before.right)
    names: list[list[str]] = []
    for at, layer in enumerate(sketch.layers()):
        passing = sum(
            1 for net in sketch.nets if net not in rails and _passes_layer(sketch, net, at)
        )
        room = sketch.width - RAIL * len(rails) - (SLOT + GAP) * passing
        names += _broken(sketch, layer, room)
    row = {name: at for at, each in enumerate(names) for name in each}
    left, right = [], []
    for net in sketch.nets:
        if _is_wrapped(net.sinks, sketch.layer, row):
            left.append(net)
        elif _is_wrapped(net.sources, sketch.layer, row):
            right.append(net)
    return Rows(names, left, right)


def _is_wrapped(boxes: Iterable[str], layer: Mapping[str, int], row: Mapping[str, int]) -> bool:
    """Whether some of these boxes are of one layer, and in different rows."""
    rows: dict[int, set[int]] = {}
    for name in boxes:
        rows.setdefault(layer[name], set()).add(row[name])
    return any(len(each) > 1 for each in rows.values())


def _broken(sketch: Sketch, layer: Sequence[str], room: int) -> list[list[str]]:
    """A layer in rows of about equal length."""
    widest = max(sketch.nodes[name].width for name in layer)
    if widest > room:
        raise TooWide
    total = sum(sketch.nodes[name].width + GAP for name in layer) - GAP
    if total <= room:
        return [list(layer)]
    rows: list[list[str]] = [[]]
    left = room
    for name in layer:
        wanted = sketch.nodes[name].width
        if rows[-1] and wanted > left:
            rows.append([])
            left = room
        rows[-1].append(name)
        left -= wanted + GAP
    return _evened(rows, sketch, room)


def _evened(rows: list[list[str]], sketch: Sketch, room: int) -> list[list[str]]:
    """The same number of rows with the boxes spread evenly, where that fits."""
    names = [name for row in rows for name in row]
    share, more = divmod(len(names), len(rows))
    even, at = [], 0
    for number in range(len(rows)):
        count = share + (number < more)
        even.append(names[at : at + count])
        at += count
    fits = all(sum(sketch.nodes[n].width + GAP for n in row) - GAP <= room for row in even)
    return even if fits else rows


def _passes_layer(sketch: Sketch, net: Net, layer: int) -> bool:
    first = min(sketch.layer[name] for name in net.sources)
    return first < layer < max(sketch.layer[name] for name in net.sinks)


def span(net: Net, row: Mapping[str, int]) -> tuple[int, int]:
    return min(row[name] for name in net.sources), max(row[name] for name in net.sinks)
