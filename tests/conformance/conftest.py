"""Fixtures of the conformance tests: every backend, under one name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from muster.backends.ledger_base import Ledger
from muster.backends.sqlite.ledger import SqliteLedger

MakeLedger = Callable[[], Ledger]


@pytest.fixture(params=["sqlite"])
def make_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> MakeLedger:
    """Makes one more ledger, each on the same record; every one of them another owner."""
    assert request.param == "sqlite"
    numbers = iter(range(100))
    return lambda: SqliteLedger(tmp_path / "ledger.db", f"owner {next(numbers)}")


@pytest.fixture
async def ledger(make_ledger: MakeLedger) -> AsyncIterator[Ledger]:
    """A ledger that was opened for the first time."""
    made = make_ledger()
    await made.open()
    yield made
    await made.close()
