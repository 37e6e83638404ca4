"""The committer, between a scheduler that goes on and a ledger that does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from muster.backends.ledger_base import Ledger, LedgerFull
from muster.model.ledger import Batch, CommitResult
from muster.scheduler.committer import After, Committer, Pending


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.scheduler.committer.RETRY_SECONDS", 0.0)


class FullLedger:
    """Takes nothing, until it has room."""

    def __init__(self) -> None:
        self.has_room = False
        self.tried = asyncio.Event()
        self.batches: list[Batch] = []

    async def commit(self, batch: Batch) -> CommitResult:
        self.tried.set()
        if not self.has_room:
            raise LedgerFull("full")
        self.batches.append(batch)
        return CommitResult(len(self.batches), (), 0.0)


def telling(told: list[After]) -> Callable[[Pending, CommitResult], None]:
    return lambda pending, _result: told.extend(pending.after)


@asynccontextmanager
async def committing(ledger: FullLedger, told: list[After]) -> AsyncIterator[Committer]:
    committer = Committer(cast(Ledger, ledger), telling(told))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(committer.run())
        yield committer
        running.cancel()


def put(committer: Committer, what: str) -> None:
    """Something to write, and somebody to be told of it."""
    committer.batch.empty = False
    committer.after.append((lambda *_: None, what, None))
    committer.wake()


async def test_nobody_waits_for_a_full_ledger_at_the_end_and_nobody_is_told() -> None:
    ledger, told = FullLedger(), list[After]()
    async with committing(ledger, told) as committer:
        put(committer, "first")
        await committer.flush()
        put(committer, "second")
        await committer.flush()
        assert ledger.tried.is_set()
    assert told == []


async def test_what_did_not_fit_is_committed_in_order_when_there_is_room_again() -> None:
    ledger, told = FullLedger(), list[After]()
    async with committing(ledger, told) as committer:
        put(committer, "first")
        await ledger.tried.wait()
        put(committer, "second")
        ledger.has_room = True
        await committer.barrier()
        await committer.flush()
    assert [what for _, what, _ in told] == ["first", "second"]
    assert len(ledger.batches) == 2


async def test_a_barrier_is_behind_what_was_decided_in_this_turn_and_nobody_has_settled() -> None:
    ledger, told = FullLedger(), list[After]()
    ledger.has_room = True
    async with committing(ledger, told) as committer:
        committer.batch.empty = False
        await committer.barrier()
        assert len(ledger.batches) == 1
        await committer.barrier()
    assert len(ledger.batches) == 1


async def test_what_was_decided_before_a_failure_is_neither_written_nor_told() -> None:
    ledger, told = FullLedger(), list[After]()
    ledger.has_room = True
    committer = Committer(cast(Ledger, ledger), telling(told))
    put(committer, "first")
    committer.stop(LookupError("half of it is lost"))
    with pytest.raises(LookupError):
        await committer.run()
    assert (ledger.batches, told) == ([], [])


async def test_a_failure_ends_it_though_the_ledger_is_full() -> None:
    ledger, told = FullLedger(), list[After]()
    failure = LookupError("half of it is lost")
    committer = Committer(cast(Ledger, ledger), telling(told))
    put(committer, "first")
    ran = asyncio.gather(committer.run(), return_exceptions=True)
    await ledger.tried.wait()
    committer.stop(failure)
    (ended,) = await ran
    assert ended is failure
