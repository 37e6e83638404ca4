"""Fixtures of the conformance tests: every backend, under one name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from muster.backends.ledger_base import Ledger
from tests.conformance.records import EVERY, PostgresRecord, Record, SqliteRecord, member

MakeLedger = Callable[[], Ledger]


@pytest.fixture(params=["sqlite", "postgres"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Record:
    """An empty one."""
    if request.param == "sqlite":
        return SqliteRecord(tmp_path)
    return PostgresRecord(request.getfixturevalue("postgres_url"))


@pytest.fixture
def make_ledger(record: Record) -> MakeLedger:
    """Makes one more ledger, each on the same record; every one of them another owner."""
    return record.make


@pytest.fixture
async def ledger(make_ledger: MakeLedger) -> AsyncIterator[Ledger]:
    """A ledger that was opened for the first time."""
    made = make_ledger()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def two(record: Record) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Two members; the first has every shard."""
    first, second = await member(record.make()), await member(record.make())
    await first.claim(EVERY)
    yield first, second
    await first.close()
    await second.close()
