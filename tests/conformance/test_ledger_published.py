"""What a ledger knows of how far events have been published, and what it keeps for that."""

from __future__ import annotations

import pytest

from muster.backends.ledger_base import Ledger
from muster.backends.postgres import retention
from muster.backends.postgres import writer as postgres_writer
from muster.backends.sqlite import writer as sqlite_writer
from tests.conformance.conftest import MakeLedger
from tests.support.ledger_rows import ONE, batch, contract


async def test_how_far_has_been_published_is_kept_and_never_goes_back(
    make_ledger: MakeLedger,
) -> None:
    ledger = make_ledger()
    await ledger.open()
    assert await ledger.published() == {}
    await ledger.mark_published({0: 5, 63: 7})
    await ledger.mark_published({0: 4, 63: 8, 1: 0})
    assert await ledger.published() == {0: 5, 1: 0, 63: 8}
    await ledger.close()
    later = make_ledger()
    await later.open()
    assert await later.published() == {0: 5, 1: 0, 63: 8}
    await later.close()


async def kept(ledger: Ledger) -> list[int]:
    return [each.position for each in await ledger.history(0, 100)]


async def grown(ledger: Ledger, commits: range) -> None:
    for number in commits:
        row = contract(ONE + number)
        await ledger.commit(batch(contracts=[row], events=[(ONE + number, 1)]))
    await ledger.trim(0, 10)


@pytest.fixture
def trims_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three commits are kept, of what has not been published six."""
    for module in (sqlite_writer, postgres_writer):
        monkeypatch.setattr(module, "OUTBOX_TRIM_EVERY", 1)
        monkeypatch.setattr(module, "OUTBOX_COMMITS_KEPT_MAX", 3)
        monkeypatch.setattr(module, "OUTBOX_UNPUBLISHED_COMMITS_KEPT_MAX", 6)
    monkeypatch.setattr(retention, "OUTBOX_SECONDS_KEPT_MIN", -3600.0)


@pytest.mark.usefixtures("trims_soon")
async def test_what_has_not_been_published_is_kept_longer_but_not_for_ever(ledger: Ledger) -> None:
    shard = 0  # in which ONE is as well
    await grown(ledger, range(5))
    assert await kept(ledger) == [3, 4, 5], "nobody publishes"
    await ledger.mark_published({shard: 4})
    await grown(ledger, range(5, 9))
    assert await kept(ledger) == [5, 6, 7, 8, 9]
    await grown(ledger, range(9, 12))
    assert await kept(ledger) == [7, 8, 9, 10, 11, 12], "a bus that is away for too long"
    await ledger.mark_published({shard: 12})
    await grown(ledger, range(12, 13))
    assert await kept(ledger) == [11, 12, 13]
