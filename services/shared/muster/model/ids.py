"""Contract ids, shards and epochs.

A contract id is one 63-bit integer, so that it can be the ledger's primary key:

    42 bits  milliseconds since 2020-01-01 (enough until 2159), never less than the last issued
     6 bits  shard
    15 bits  count within the millisecond and shard (32,768 ids per ms and shard)

Time stands first, so that new rows go to the end of every index. On the wire it is 16 lower-case
hex digits.

An epoch is 53 bits, so that it survives a double: 21 bits of the shard's generation, which is
raised durably at every start or takeover, and 32 bits of a count within it. It can therefore never
be issued twice, even if the last ones were lost in a crash.
"""

from __future__ import annotations

import zlib

from muster.model.limits import EPOCH_COUNT_BITS, EPOCH_GENERATION_BITS, SHARDS

ID_EPOCH_MS = 1_577_836_800_000  # 2020-01-01T00:00:00Z
_COUNT_BITS = 15
_SHARD_BITS = 6
SHARD_SHIFT = _COUNT_BITS  # where in an id its shard stands, for those who look for it in SQL
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_HEX_DIGITS = 16
_ID_MAX = (1 << 63) - 1


def format_id(number: int) -> str:
    """The id as it stands on the wire."""
    return f"{number:016x}"


def parse_id(text: str) -> int:
    """The id as the ledger keeps it. Raises `ValueError` for anything but 16 hex digits."""
    number = int(text, 16)
    if len(text) != _HEX_DIGITS or f"{number:016x}" != text or number >> 63:
        raise ValueError(text)
    return number


def shard_of_id(number: int) -> int:
    """The shard that a contract belongs to."""
    return (number >> _COUNT_BITS) & (SHARDS - 1)


def time_ms_of_id(number: int) -> int:
    """Unix milliseconds at which the id was made."""
    return (number >> (_COUNT_BITS + _SHARD_BITS)) + ID_EPOCH_MS


def first_id_at(time_ms: int) -> int:
    """The smallest id that can have been made at `time_ms`; for ranges of time.

    What is before the first id, or after the last that there can be, becomes that.
    """
    return min(max(0, time_ms - ID_EPOCH_MS) << (_COUNT_BITS + _SHARD_BITS), _ID_MAX)


def shard_of_scope(tenant: str, principal: str, request_id: str) -> int:
    """The shard of a new tree, from its root's idempotency scope; stable across processes."""
    return zlib.crc32(f"{tenant}\0{principal}\0{request_id}".encode()) % SHARDS


class IdMaker:
    """Makes contract ids that only ever grow within a shard, whatever the wall clock does."""

    __slots__ = ("_last",)

    def __init__(self, last_issued: int = 0) -> None:
        """`last_issued` is the largest id in the ledger, of any shard."""
        floor = last_issued >> (_COUNT_BITS + _SHARD_BITS)
        self._last = [(floor, _COUNT_MASK)] * SHARDS

    def pass_by(self, last_issued: int) -> None:
        """Make only larger ids than this from now on; others may have made it."""
        floor = (last_issued >> (_COUNT_BITS + _SHARD_BITS), _COUNT_MASK)
        self._last = [max(each, floor) for each in self._last]

    def bound(self, shard: int) -> int:
        """Every id of the shard to come is at least so large, and every one before is smaller."""
        ms, count = self._last[shard]
        return ((ms << (_COUNT_BITS + _SHARD_BITS)) | (shard << _COUNT_BITS) | count) + 1

    def make(self, shard: int, wall_ms: int) -> int:
        """A new id. `wall_ms` is Unix time; a clock that went back is made up for."""
        last_ms, count = self._last[shard]
        ms = wall_ms - ID_EPOCH_MS
        if ms > last_ms:
            count = 0
        else:
            ms = last_ms
            count += 1
            if count > _COUNT_MASK:
                ms, count = ms + 1, 0
        self._last[shard] = (ms, count)
        return (ms << (_COUNT_BITS + _SHARD_BITS)) | (shard << _COUNT_BITS) | count


class EpochsExhausted(Exception):
    """The count has run out: the generation must be raised before another epoch is made."""


class EpochMaker:
    """Makes the epochs of one generation."""

    __slots__ = ("_base", "_count")

    def __init__(self, generation: int) -> None:
        if not 0 < generation < 1 << EPOCH_GENERATION_BITS:
            message = f"generation {generation} is out of range"
            raise ValueError(message)
        self._base = generation << EPOCH_COUNT_BITS
        self._count = 0

    def make(self) -> int:
        """The next epoch, larger than every one before."""
        self._count += 1
        if self._count >> EPOCH_COUNT_BITS:
            raise EpochsExhausted
        return self._base | self._count


def generation_of_epoch(epoch: int) -> int:
    """The generation in which an epoch was made."""
    return epoch >> EPOCH_COUNT_BITS
