"""Ended contracts are counted after a takeover, and neither twice nor not at all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import Any, cast

from muster.backends.ledger_base import Ended, Ledger
from muster.model.ledger import Opening
from muster.model.states import ContractState
from muster.scheduler.housekeeping import EndedCounts

SUCCEEDED, FAILED = ContractState.SUCCEEDED, ContractState.FAILED


class Record:
    """What a ledger says of ended contracts, when it is let."""

    def __init__(self, kept: Ended) -> None:
        self.kept = dict(kept)
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ended(self, shards: Collection[int], last_id: int, but: Collection[int]) -> Ended:
        found = {key: count for key, count in self.kept.items() if key[0] in shards}
        self.asked.set()
        await self.may_answer.wait()
        return Counter(found)


def counts_of(record: Record) -> EndedCounts:
    return EndedCounts(cast(Ledger, record))


def opening(*shards: int) -> Opening:
    generations = dict.fromkeys(shards, 5)
    made: Any = Opening(5, 100, 0, [], [], {}, generations)
    return cast(Opening, made)


async def test_what_ended_before_and_after_a_takeover_is_counted() -> None:
    counts = counts_of(Record({(1, "acme", SUCCEEDED): 7, (2, "acme", FAILED): 1}))
    counts.take_over(opening(1, 2), [])
    counts.add(1, "acme", SUCCEEDED)
    await counts.count()
    assert counts.totals()["acme", SUCCEEDED] == 8
    assert counts.totals()["acme", FAILED] == 1
    assert counts.totals()["other", SUCCEEDED] == 0


async def test_what_is_given_up_while_it_is_counted_does_not_count() -> None:
    record = Record({(1, "acme", SUCCEEDED): 7, (2, "acme", SUCCEEDED): 2})
    record.may_answer.clear()
    counts = counts_of(record)
    counts.take_over(opening(1, 2), [])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(counts.count())
        await record.asked.wait()
        counts.disown([1])
        record.may_answer.set()
    assert counts.totals()["acme", SUCCEEDED] == 2


async def test_what_comes_back_while_it_is_counted_counts_once() -> None:
    record = Record({(1, "acme", SUCCEEDED): 7})
    record.may_answer.clear()
    counts = counts_of(record)
    counts.take_over(opening(1), [])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(counts.count())
        await record.asked.wait()
        counts.disown([1])
        record.kept[1, "acme", SUCCEEDED] = 9
        counts.take_over(opening(1), [])
        record.may_answer.set()
    assert counts.totals()["acme", SUCCEEDED] == 9


async def test_what_is_forgotten_counts_less_once_it_was_counted() -> None:
    record = Record({(1, "acme", SUCCEEDED): 7})
    counts = counts_of(record)
    counts.take_over(opening(1), [])
    record.kept[1, "acme", SUCCEEDED] = 5
    counts.forget({(1, "acme", SUCCEEDED): 2})
    await counts.count()
    assert counts.totals()["acme", SUCCEEDED] == 5
    counts.forget({(1, "acme", SUCCEEDED): 2})
    assert counts.totals()["acme", SUCCEEDED] == 3


async def test_whoever_waits_is_told_when_everything_is_counted() -> None:
    counts = counts_of(Record({}))
    await counts.complete(5)
    counts.take_over(opening(1), [])
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(counts.complete(5))
        await asyncio.sleep(0)
        assert not waiting.done()
        await counts.count()
