"""How much of what only passes by is kept, in every SQL database."""

from __future__ import annotations

from collections.abc import Sequence

from muster.model.ledger import ITEM_LOG, ITEM_PROGRESS, Row

OUTBOX_COMMITS_KEPT_MAX = 200_000  # about 16 bytes an event: at 20 events a commit, 64 MB
OUTBOX_UNPUBLISHED_COMMITS_KEPT_MAX = 2_000_000  # while a bus is away: 640 MB, then a gap
OUTBOX_TRIM_EVERY = 1_000  # commits
LOG_TRIM_EVERY = 16  # lines on average: trimming reads all that is kept, up to 2,000 short ones


def superseded_progress(rows: Sequence[Row]) -> list[Row]:
    """(contract id, epoch, index): progress before that index is superseded by these items."""
    return [row[:3] for row in rows if row[3] == ITEM_PROGRESS]


def logs_to_trim(rows: Sequence[Row]) -> set[tuple[int, int]]:
    """(contract id, epoch) of attempts whose logs it is time to trim, now that they grow."""
    return {(row[0], row[1]) for row in rows if row[3] == ITEM_LOG and _is_turn(row[2])}


def _is_turn(index: int) -> bool:
    """True for one in `LOG_TRIM_EVERY`, whatever the pattern in which kinds of items alternate."""
    return index * 0x9E3779B1 % 2**32 < 2**32 // LOG_TRIM_EVERY
