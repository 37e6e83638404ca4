"""Group commit: one writer, which commits whatever has accumulated while it committed the last.

There is no timer: a single change goes out at once, and a thousand that arrive during one fsync go
out together in the next. Whoever is told of a change is told after its commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from muster.backends.ledger_base import Ledger, LedgerFull
from muster.model import limits
from muster.model.errors import ResourceExhausted, Unavailable
from muster.model.ledger import Batch, CommitResult, Row
from muster.runtime.distribution import COUNT, MICROSECONDS, Distribution
from muster.scheduler.effects import Change

RETRY_SECONDS = 0.25  # pause before a batch that the ledger could not take is tried again
TIMES_KEPT = 1_000  # durations of commits, for statistics

After = tuple[Callable[[Any, Any], None], Any, Any]  # what to call after the commit, with what


class Pending(NamedTuple):
    """What a batch brings with it."""

    batch: Batch
    after: list[After]
    changes: list[Change]
    barriers: list[asyncio.Future[None]]


class Committer:
    """Collects rows and effects, and commits them in order."""

    def __init__(self, ledger: Ledger, on_commit: Callable[[Pending, CommitResult], None]) -> None:
        self.batch = Batch()
        self.after: list[After] = []
        self.changes: list[Change] = []  # of contracts, in order: what watchers will see
        # Rows of new contracts in the batch, by id: their first lease can still join them.
        self.fresh: dict[int, Row] = {}
        self.commits = 0
        self.position = 0  # of the last commit
        self.times: deque[float] = deque(maxlen=TIMES_KEPT)
        self.durations = Distribution(MICROSECONDS)
        self.sizes = Distribution(COUNT)  # changes in each
        self.failing = False  # the last try failed: refuse what can be refused
        self._broken: Exception | None = None
        self._ledger = ledger
        self._on_commit = on_commit
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._at_rest = asyncio.Event()  # idle, or the ledger takes nothing
        self._at_rest.set()
        self._barriers: list[asyncio.Future[None]] = []

    def require_room(self) -> None:
        """Raises where the ledger takes nothing, or cannot keep up: come back later."""
        if self.failing:
            raise Unavailable(
                "the ledger cannot write at the moment; try again", reason="LEDGER_UNAVAILABLE"
            )
        if self.batch.bytes > limits.BATCH_BYTES_MAX:
            raise ResourceExhausted(
                "the ledger's disk does not keep up; try again",
                retry_after_seconds=limits.QUEUE_FULL_RETRY_SECONDS,
            )

    def wake(self) -> None:
        """There is something to commit."""
        if self.after or not self.batch.empty:
            self._idle.clear()
            if not self.failing:
                self._at_rest.clear()
            self._wake.set()

    def stop(self, error: Exception) -> None:
        """Commit nothing more: `run` raises this. What is committed already is still told."""
        self._broken = error
        self._wake.set()

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._broken is not None:
                raise self._broken
            pending = self._take()
            if pending.batch.empty:
                result = CommitResult(0, (), 0.0)
            else:
                result = await self._commit(pending.batch)
                self.durations.add(int(result.seconds * 1e6))
                self.sizes.add(len(pending.changes))
            self._on_commit(pending, result)
            for barrier in pending.barriers:
                if not barrier.done():
                    barrier.set_result(None)
            if not self._wake.is_set():
                self._idle.set()
                self._at_rest.set()

    def _take(self) -> Pending:
        taken = Pending(self.batch, self.after, self.changes, self._barriers)
        # From here on the rows belong to the writer's thread.
        self.batch, self.after, self.changes, self._barriers = Batch(), [], [], []
        self.fresh = {}
        return taken

    async def _commit(self, batch: Batch) -> CommitResult:
        while True:
            try:
                result = await self._ledger.commit(batch)
            except LedgerFull:
                # Nothing is lost: the same batch is tried until it fits. Meanwhile submits are
                # refused, and agents keep their reports.
                self.failing = True
                self._at_rest.set()
                if self._broken is not None:
                    raise self._broken from None
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if self.failing:
                self.failing = False
                self._at_rest.clear()
            self.commits += 1
            self.position = result.position
            self.times.append(result.seconds)
            return result

    async def barrier(self) -> None:
        """Until everything that is pending now is committed, what nobody has settled included."""
        self.wake()
        if self._idle.is_set():
            return
        barrier: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._barriers.append(barrier)
        self._wake.set()
        await barrier

    async def flush(self) -> None:
        """Until nothing is pending, or the ledger takes nothing: then nobody is told either."""
        await self._at_rest.wait()

    def percentile_seconds(self, share: float) -> float:
        """A percentile of the last commits' durations; 0 when there were none."""
        if not self.times:
            return 0.0
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
