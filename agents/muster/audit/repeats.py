"""Repeats in a sequence of integers, by suffix array.

The suffix array is built by prefix doubling (Manber and Myers, 1990), the common prefixes of its
neighbours by Kasai's algorithm (2001); the repeats are the intervals of the array whose suffixes
share a prefix. Everything is linear but the sorts, of which there are as many as the longest repeat
has bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Repeat:
    """`length` symbols that stand at each of `starts` (two or more, ascending)."""

    length: int
    starts: tuple[int, ...]


def maximal_repeats(symbols: Sequence[int]) -> Iterator[Repeat]:
    """Every repeat that cannot be made longer, to the right or to the left, without losing a place.

    The starts may overlap. The order of the repeats follows from the symbols alone.
    """
    array = suffix_array(symbols)
    for length, first, last in _intervals(_common_prefixes(symbols, array)):
        starts = tuple(sorted(array[first : last + 1]))
        if _differs_before(symbols, starts):
            yield Repeat(length, starts)


def suffix_array(symbols: Sequence[int]) -> list[int]:
    """The starts of all suffixes, in the order of the suffixes."""
    ranks = _ranked(list(symbols))
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    width = 1
    while order and ranks[order[-1]] + 1 < len(ranks):
        # A pair of ranks as one number: the rank of the first half, then of what follows it.
        base = len(ranks) + 1
        followers = ranks[width:] + [-1] * min(width, len(ranks))
        keys = [rank * base + after + 1 for rank, after in zip(ranks, followers, strict=True)]
        ranks = _ranked(keys)
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        width *= 2
    return order


def _ranked(keys: list[int]) -> list[int]:
    rank_of = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return [rank_of[key] for key in keys]


def _common_prefixes(symbols: Sequence[int], array: list[int]) -> list[int]:
    """For each place in the array, how many symbols its suffix shares with the one before it."""
    size = len(array)
    rank = [0] * size
    for place, start in enumerate(array):
        rank[start] = place
    common = [0] * size
    shared = 0
    for start in range(size):
        if rank[start] == 0:
            shared = 0
            continue
        other = array[rank[start] - 1]
        while (
            max(start, other) + shared < size and symbols[start + shared] == symbols[other + shared]
        ):
            shared += 1
        common[rank[start]] = shared
        shared = max(shared - 1, 0)
    return common


def _intervals(common: list[int]) -> Iterator[tuple[int, int, int]]:
    """(length, first, last) of every interval of the array whose suffixes share `length` symbols,
    and no interval around it as many."""
    stack: list[tuple[int, int]] = []
    for place, shared in enumerate([*common, 0]):
        first = place - 1
        while stack and stack[-1][0] > shared:
            length, first = stack.pop()
            yield length, first, place - 1
        if shared and (not stack or stack[-1][0] < shared):
            stack.append((shared, first))


def _differs_before(symbols: Sequence[int], starts: tuple[int, ...]) -> bool:
    if starts[0] == 0:
        return True
    before = symbols[starts[0] - 1]
    return any(symbols[start - 1] != before for start in starts)
