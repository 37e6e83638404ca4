"""How far back there is nothing open: what whoever claims a shard next need not look at. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muster.model import limits
from muster.model.ids import shard_of_id
from muster.model.ledger import Settled


def settled_marks(bounds: Mapping[int, int], open_ids: Iterable[int]) -> dict[int, Settled]:
    """A mark for each shard in `bounds`.

    `bounds` says for each shard above which id nothing has been made; `open_ids` are all of its
    contracts that the ledger may show without a response, now or when what is being committed is.
    """
    by_shard: dict[int, list[int]] = {shard: [] for shard in bounds}
    for number in open_ids:
        shard = shard_of_id(number)
        if shard in by_shard:
            by_shard[shard].append(number)
    marks: dict[int, Settled] = {}
    for shard, numbers in by_shard.items():
        numbers.sort()
        most = limits.SETTLED_OPEN_MAX
        older, newer = numbers[:most], numbers[most:]
        marks[shard] = Settled(newer[0] if newer else bounds[shard], older)
    return marks
