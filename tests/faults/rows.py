"""All rows of the fault table."""

from __future__ import annotations

from tests.faults import (
    rows_crowds,
    rows_disks,
    rows_flows,
    rows_freezes,
    rows_full,
    rows_kills,
    rows_network,
    rows_slow,
    rows_trees,
)
from tests.faults.table import Row

FULL = {
    row.name: row for row in (*rows_full.ROWS, *rows_flows.FULL_ROWS)
}  # those of the full profile
ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        *rows_kills.ROWS,
        *rows_freezes.ROWS,
        *rows_disks.ROWS,
        *rows_network.ROWS,
        *rows_crowds.ROWS,
        *rows_slow.ROWS,
        *rows_trees.ROWS,
        *rows_flows.ROWS,
    )
}
EVERY = ROWS | FULL
PROFILES = {"embedded": ROWS, "full": FULL}
