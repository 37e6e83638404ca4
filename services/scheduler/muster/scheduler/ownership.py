"""Which shards a scheduler should own, decided from what the ledger says of all of them.

Every scheduler decides for itself, from the same two tables; the ledger lets only one have a shard.
Each may own its share, ⌈shards ÷ live schedulers⌉, and no more: who has more gives some up, who
has less takes what nobody alive owns. So a newcomer gets its share from those that have too many,
the shards of a dead one are divided among the others, and nothing else moves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from muster.model.limits import SHARDS


class Move(NamedTuple):
    """What a scheduler should do next."""

    claim: list[int]
    release: list[int]


def decide(me: str, live: Collection[str], owners: Mapping[int, str]) -> Move:
    """What `me` claims and releases.

    `live` are the names of the schedulers that live, `me` among them; `owners` names who owns each
    shard, dead or alive. A shard that nobody has ever owned is not in it.
    """
    share = -(-SHARDS // len(live))
    mine = sorted(shard for shard, owner in owners.items() if owner == me)
    if len(mine) > share:
        # The highest: a scheduler that started alone keeps the lower ones, whoever comes and goes.
        return Move([], mine[share:])
    free = [shard for shard in range(SHARDS) if owners.get(shard, "") not in live]
    return Move(free[: share - len(mine)], [])
