"""A ledger that does not keep up gets no more than it can be behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from muster.backends.sqlite.ledger import SqliteLedger
from muster.model import limits
from muster.model.errors import ResourceExhausted
from muster.model.ledger import Batch, CommitResult
from muster.scheduler.entries import make_entry
from muster.scheduler.service import Scheduler
from muster.scheduler.streams import OneAnswer
from muster.v1.capability_pb2 import Capability
from muster.v1.request_pb2 import Request

BYTES = 1_000


class SlowLedger(SqliteLedger):
    """Commits when it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "slow")
        self.may_commit = asyncio.Event()
        self.is_committing = asyncio.Event()

    async def commit(self, batch: Batch) -> CommitResult:
        self.is_committing.set()
        await self.may_commit.wait()
        return await super().commit(batch)


async def test_submits_are_refused_while_too_much_waits_for_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH_BYTES_MAX", 3 * BYTES)
    ledger = SlowLedger(tmp_path / "ledger.db")
    scheduler = Scheduler(ledger, "s")
    numbers = iter(range(100))

    def submit() -> OneAnswer:
        answer = OneAnswer()
        request = Request(request_id=f"r{next(numbers)}")
        request.capability.name = "echo"
        request.payload.json = f'"{"x" * BYTES}"'
        scheduler.submit(scheduler.clock(), "default", "local", request, answer)
        scheduler.settle()
        return answer

    async with scheduler.run():
        capability = Capability(name="echo", version="1.0.0")
        scheduler.add_to_catalogue(make_entry("default", capability, 1, 0))
        accepted = [submit()]
        await ledger.is_committing.wait()
        accepted += [submit() for _ in range(3)]
        with pytest.raises(ResourceExhausted, match="does not keep up"):
            submit()
        ledger.may_commit.set()
        await asyncio.gather(*(answer.accepted for answer in accepted))
        await submit().accepted
