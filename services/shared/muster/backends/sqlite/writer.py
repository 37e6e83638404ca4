"""Turns a batch into one transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from muster.backends.ledger_base import LedgerBroken, LedgerFull, OwnershipLost
from muster.backends.sqlite import hot
from muster.failpoints import failpoint
from muster.model.ledger import (
    ITEM_LOG,
    ITEM_PROGRESS,
    Batch,
    CommitResult,
    Refused,
    Row,
    Segment,
)
from muster.model.limits import LOG_BYTES_KEPT_MAX

OUTBOX_COMMITS_KEPT_MAX = 200_000  # about 16 bytes an event: at 20 events a commit, 64 MB
OUTBOX_TRIM_EVERY = 1_000  # commits
LOG_TRIM_EVERY = 16  # lines on average: trimming reads all that is kept, up to 2,000 short ones
FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY})


class Writer:
    """The one connection that writes. Used from one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, generation: int, position: int) -> None:
        self._db = connection
        self._generation = generation
        self._position = position

    @failpoint("ledger_commit", LedgerBroken)
    @failpoint("ledger_full", LedgerFull)
    def commit(self, batch: Batch) -> CommitResult:
        """Write the batch in one transaction and fsync it. See `Ledger.commit` for the errors."""
        db = self._db
        refused: list[Refused] = []
        position = self._position
        try:
            db.execute("BEGIN IMMEDIATE")
            if db.execute(hot.FOREIGN_SHARDS, (self._generation,)).fetchone()[0]:
                raise OwnershipLost("another process has taken the ledger over")
            if batch.capabilities:
                db.executemany(hot.CATALOGUE, batch.capabilities)
            for segment in batch.segments:
                self._write(segment, refused)
            if batch.events:
                # Only what stands in a row is counted: a restart goes on from the last row.
                position += 1
                now_ms = time.time_ns() // 1_000_000
                db.execute(hot.OUTBOX, (position, now_ms, batch.events.tobytes()))
                if position % OUTBOX_TRIM_EVERY == 0:
                    db.execute(hot.OUTBOX_TRIM, (position - OUTBOX_COMMITS_KEPT_MAX,))
            started = time.perf_counter()
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if error.sqlite_errorcode & 0xFF in FULL:
                raise LedgerFull(
                    "the ledger cannot write at the moment; try again later"
                ) from error
            raise LedgerBroken(f"the ledger failed: {error.sqlite_errorname}") from error
        except BaseException:
            self._roll_back()
            raise
        self._position = position
        return CommitResult(position, refused, time.perf_counter() - started)

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _write(self, segment: Segment, refused: list[Refused]) -> None:
        if segment.contracts:
            taken = self._db.executemany(hot.CONTRACTS, segment.contracts).rowcount
            if taken != len(segment.contracts):
                refused.extend(self._scopes_taken(segment.contracts))
        if segment.leases:
            self._fenced("leases", hot.LEASES, segment.leases, refused)
        if segment.starts:
            self._db.executemany(hot.STARTS, segment.starts)
        if segment.items:
            self._db.executemany(hot.ITEMS, segment.items)
            self._trim_items(segment.items)
        if segment.endings:
            self._fenced("endings", hot.ENDINGS, segment.endings, refused)
        if segment.responses:
            self._fenced("responses", hot.RESPONSES, segment.responses, refused)

    def _trim_items(self, rows: Sequence[Row]) -> None:
        trims = [row[:3] for row in rows if row[3] == ITEM_PROGRESS]
        self._db.executemany(hot.PROGRESS_TRIM, trims)
        logs = {(row[0], row[1]) for row in rows if row[3] == ITEM_LOG and _is_turn(row[2])}
        self._db.executemany(hot.LOG_TRIM, [(*key, LOG_BYTES_KEPT_MAX) for key in logs])

    def _scopes_taken(self, rows: Sequence[Row]) -> list[Refused]:
        refused = []
        for row in rows:
            owner, sha256 = self._db.execute(hot.SCOPE_OWNER, row[1:4]).fetchone()
            if owner != row[0]:
                refused.append(Refused("contracts", row, owner, sha256))
        return refused

    def _fenced(self, kind: str, statement: str, rows: list[Row], refused: list[Refused]) -> None:
        """Insert rows whose condition may refuse them, and find out which it did."""
        if self._db.executemany(statement, rows).rowcount == len(rows):
            return
        for row in rows:
            key = (row[0], row[1], row[3]) if kind == "responses" else (row[0], row[1])
            if self._db.execute(hot.EXISTS[kind], key).fetchone() is None:
                refused.append(Refused(kind, row))


def _is_turn(index: int) -> bool:
    """True for one in `LOG_TRIM_EVERY`, whatever the pattern in which kinds of items alternate."""
    return index * 0x9E3779B1 % 2**32 < 2**32 // LOG_TRIM_EVERY
