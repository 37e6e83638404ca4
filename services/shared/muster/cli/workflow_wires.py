"""The wires between two rows of boxes: which of them share a track, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from muster.cli.workflow_nets import Net

TRACKS_ORDERED_MAX = 5  # of a channel, whose best order is looked for; there are 120 then


@dataclass(frozen=True, slots=True)
class Wire:
    """A net between two rows: it comes down at `tops`, runs along `track`, goes on at `bottoms`.

    Without a track (None) it goes straight down.
    """

    tops: tuple[int, ...]
    bottoms: tuple[int, ...]
    track: int | None

    @property
    def first(self) -> int:
        """Its leftmost column."""
        return min(self.tops + self.bottoms)

    @property
    def last(self) -> int:
        """Its rightmost column."""
        return max(self.tops + self.bottoms)

    def crossing(self, other: Wire) -> tuple[int, ...]:
        """The columns at which it goes down through another one's track, or would."""
        if other.track is None:
            return ()
        if self.track is None:
            return self.tops
        return self.tops if other.track < self.track else self.bottoms


def make_wires(tops: Mapping[Net, list[int]], bottoms: Mapping[Net, list[int]]) -> tuple[Wire, ...]:
    """The nets of a channel; those that overlap get tracks of their own, in the best order."""
    wires: list[Wire] = []
    tracks: list[list[Wire]] = []
    for net, below in bottoms.items():
        wire = Wire(tuple(tops[net]), tuple(below), None)
        if wire.first == wire.last:
            wires.append(wire)
            continue
        free = next((t for t in tracks if all(_are_apart(wire, other) for other in t)), None)
        if free is None:
            tracks.append([wire])
        else:
            free.append(wire)
    if len(tracks) > TRACKS_ORDERED_MAX:
        tracks.sort(key=lambda track: sum(len(w.bottoms) - len(w.tops) for w in track))
        return (*wires, *_numbered(tracks))
    orders = ((*wires, *_numbered(order)) for order in permutations(tracks))
    return min(orders, key=faults)


def _numbered(tracks: Iterable[Iterable[Wire]]) -> list[Wire]:
    return [
        Wire(wire.tops, wire.bottoms, number)
        for number, track in enumerate(tracks)
        for wire in track
    ]


def _are_apart(one: Wire, other: Wire) -> bool:
    return one.last + 1 < other.first or other.last + 1 < one.first


def faults(wires: Sequence[Wire]) -> tuple[int, int]:
    """How often wires of a channel lie on each other, which must not be, and how often they
    cross."""
    overlaps = crossings = 0
    for one in wires:
        for other in wires:
            if other is one:
                continue
            # One comes from above, the other goes on below, in the same column.
            if set(one.tops) & set(other.bottoms) and not _ends_above(one, other):
                overlaps += 1
            crossings += sum(other.first < x < other.last for x in one.crossing(other))
    return overlaps, crossings


def _ends_above(one: Wire, other: Wire) -> bool:
    return one.track is not None and other.track is not None and one.track < other.track


def tracks_of(wires: Iterable[Wire]) -> int:
    """How many tracks a channel has."""
    return max((wire.track + 1 for wire in wires if wire.track is not None), default=0)
