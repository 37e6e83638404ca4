"""Turns a batch into one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

from muster.backends.ledger_base import Ended, LedgerBroken, LedgerFull, OwnershipLost
from muster.backends.sql import records
from muster.backends.sql.keeping import (
    OUTBOX_COMMITS_KEPT_MAX,
    OUTBOX_TRIM_EVERY,
    OUTBOX_UNPUBLISHED_COMMITS_KEPT_MAX,
    logs_to_trim,
    superseded_progress,
)
from muster.backends.sqlite import hot, retention
from muster.failpoints import failpoint
from muster.model.ids import first_id_at, shard_of_id
from muster.model.ledger import (
    Batch,
    CommitResult,
    Refused,
    Row,
    Segment,
    Settled,
)
from muster.model.limits import LOG_BYTES_KEPT_MAX
from muster.model.states import ContractState

FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY})


class Writer:
    """The one connection that writes. Used from one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, generation: int, position: int) -> None:
        self._db = connection
        self._generation = generation
        self._position = position
        self._seconds = 0.0  # of the last commit

    @failpoint("ledger_commit", LedgerBroken)
    @failpoint("ledger_full", LedgerFull)
    def commit(self, batch: Batch) -> CommitResult:
        """Write the batch in one transaction and fsync it. See `Ledger.commit` for the errors."""
        refused: list[Refused] = []
        position = self._position
        with self._transaction() as db:
            if batch.capabilities:
                db.executemany(hot.CATALOGUE, batch.capabilities)
            for segment in batch.segments:
                self._write(segment, refused)
            for statement, rows in records.writes(batch.records, records.question_mark):
                db.executemany(statement, rows)
            if batch.events:
                # Only what stands in a row is counted: a restart goes on from the last row.
                position += 1
                now_ms = time.time_ns() // 1_000_000
                db.execute(hot.OUTBOX, (position, now_ms, batch.events.tobytes()))
                if position % OUTBOX_TRIM_EVERY == 0:
                    kept = (OUTBOX_COMMITS_KEPT_MAX, OUTBOX_UNPUBLISHED_COMMITS_KEPT_MAX)
                    db.execute(hot.OUTBOX_TRIM, [position - each for each in kept])
        self._position = position
        return CommitResult(position, refused, self._seconds)

    def trim(self, before_ms: int, limit: int) -> Ended:
        """Delete what ended before an instant. See `Ledger.trim`."""
        with self._transaction() as db:
            rows = db.execute(
                retention.ENDED, (first_id_at(before_ms), before_ms, limit)
            ).fetchall()
            if rows:
                ids = json.dumps([number for number, _, _ in rows])
                for statement in retention.DELETES:
                    db.execute(statement, (ids,))
        return Counter(
            (shard_of_id(number), tenant, ContractState(state)) for number, tenant, state in rows
        )

    def mark_settled(self, marks: Mapping[int, Settled]) -> None:
        """See `Ledger.mark_settled`."""
        with self._transaction() as db:
            db.executemany(
                hot.SETTLED,
                (
                    (shard, before, array("q", ids).tobytes())
                    for shard, (before, ids) in marks.items()
                ),
            )

    def mark_published(self, positions: Mapping[int, int]) -> None:
        """See `Ledger.mark_published`."""
        with self._transaction() as db:
            db.executemany(hot.PUBLISHED, positions.items())

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction of the owner; leaves how long its commit took in `_seconds`."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            if db.execute(hot.FOREIGN_SHARDS, (self._generation,)).fetchone()[0]:
                raise OwnershipLost("another process has taken the ledger over")
            yield db
            started = time.perf_counter()
            db.execute("COMMIT")
            self._seconds = time.perf_counter() - started
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

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _write(self, segment: Segment, refused: list[Refused]) -> None:
        contracts, responses = segment.contracts, segment.responses
        if contracts and self._in_chunks(hot.CONTRACTS, contracts) != len(contracts):
            refused.extend(self._scopes_taken(contracts))
        if segment.leases:
            self._conditionally("leases", hot.LEASES, segment.leases, refused)
        if segment.starts:
            self._db.executemany(hot.STARTS, segment.starts)
        if segment.items:
            self._db.executemany(hot.ITEMS, segment.items)
            self._trim_items(segment.items)
        if segment.endings:
            self._conditionally("endings", hot.ENDINGS, segment.endings, refused)
        if segment.questions:
            self._conditionally("questions", hot.QUESTIONS, segment.questions, refused)
        if segment.answers:
            self._conditionally("answers", hot.ANSWERS, segment.answers, refused)
        if responses and self._in_chunks(hot.RESPONSES, responses) != len(responses):
            refused.extend(self._fenced("responses", responses))

    def _conditionally(
        self, kind: str, statement: str, rows: list[Row], refused: list[Refused]
    ) -> None:
        """Insert rows one by one, each under its condition."""
        if self._db.executemany(statement, rows).rowcount != len(rows):
            refused.extend(self._fenced(kind, rows))

    def _in_chunks(self, statements: Mapping[int, str], rows: list[Row]) -> int:
        """Insert rows, as many in a statement as there is one for; returns how many were taken."""
        taken = at = 0
        left = len(rows)
        for count, statement in statements.items():  # the longest first
            while left >= count:
                values = list(chain.from_iterable(rows[at : at + count]))
                taken += self._db.execute(statement, values).rowcount
                at += count
                left -= count
        return taken

    def _trim_items(self, rows: Sequence[Row]) -> None:
        self._db.executemany(hot.PROGRESS_TRIM, superseded_progress(rows))
        logs = [(*key, LOG_BYTES_KEPT_MAX) for key in logs_to_trim(rows)]
        self._db.executemany(hot.LOG_TRIM, logs)

    def _scopes_taken(self, rows: Sequence[Row]) -> list[Refused]:
        refused = []
        for row in rows:
            owner, sha256 = self._db.execute(hot.SCOPE_OWNER, row[1:4]).fetchone()
            if owner != row[0]:
                refused.append(Refused("contracts", row, owner, sha256))
        return refused

    def _fenced(self, kind: str, rows: list[Row]) -> Iterator[Refused]:
        """Which rows their condition has refused."""
        for row in rows:
            key = [row[place] for place in hot.KEYS[kind]]
            if self._db.execute(hot.EXISTS[kind], key).fetchone() is None:
                yield Refused(kind, row)
