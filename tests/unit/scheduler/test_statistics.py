"""Counting walks over all that is open; it may take no more than its share of the time."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from muster.model import limits
from muster.scheduler.records import Now
from muster.scheduler.routing import Router
from muster.scheduler.statistics import Statistics
from tests.unit.scheduler.worlds import WALL_MS, World


class Slow:
    """A scheduler whose every walk takes so many seconds."""

    def __init__(self, walk_seconds: float) -> None:
        self.world = World()
        self.mono = 1_000.0
        self._step = walk_seconds / 2  # each walk reads the clock twice
        committer = SimpleNamespace(commits=0, percentile_seconds=lambda share: 0.0)
        ended = SimpleNamespace(totals=Counter[Any])
        scheduler: Any = SimpleNamespace(
            core=self.world.core, committer=committer, ended=ended, clock=self.clock
        )
        self.statistics = Statistics(scheduler, Router())

    def clock(self) -> Now:
        self.mono += self._step
        return Now(self.mono, WALL_MS + 7_000)

    def queued(self) -> int:
        rows = self.statistics.of_this("default").capabilities
        return sum(row.queued for row in rows)


def test_what_is_counted_in_no_time_is_always_counted_anew() -> None:
    slow = Slow(0.0)
    for count in (1, 2, 3):
        slow.world.submit(f"r{count}")
        assert slow.queued() == count


def test_what_takes_long_to_count_is_counted_seldom() -> None:
    slow = Slow(1.0)
    slow.world.submit("r1")
    assert slow.queued() == 1
    slow.world.submit("r2")
    assert slow.queued() == 1
    slow.mono += 0.5 / limits.STATISTICS_TIME_SHARE
    assert slow.queued() == 2


def test_the_oldest_of_those_that_wait_for_the_first_time_says_how_long() -> None:
    slow = Slow(0.0)
    slow.world.submit("r1")
    slow.world.seconds += 3.0
    slow.world.submit("r2")
    (row,) = slow.statistics.of_this("default").capabilities
    assert row.oldest_wait.ToMilliseconds() == 7_000
    assert not slow.statistics.of_this("other").capabilities
