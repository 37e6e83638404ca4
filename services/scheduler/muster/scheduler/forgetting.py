"""Forgets contracts whose retention is over, a few at a time, between commits."""

from __future__ import annotations

import asyncio
from typing import Protocol

from muster.backends.ledger_base import Ended, Ledger, LedgerFull
from muster.model import limits
from muster.runtime.logs import get_logger
from muster.scheduler.records import Now

_log = get_logger("muster.scheduler")


class Forgetful(Protocol):
    """What is needed of a scheduler."""

    ledger: Ledger

    def clock(self) -> Now: ...

    def forget_ended(self, counts: Ended) -> None: ...


async def forget_old(scheduler: Forgetful, retention_seconds: float) -> None:
    """Without end."""
    while True:
        before_ms = scheduler.clock().wall_ms - int(retention_seconds * 1000)
        trimmed: Ended = {}
        try:
            trimmed = await scheduler.ledger.trim(before_ms, limits.RETENTION_TRIM_MAX)
        except LedgerFull:
            _log.warning("the ledger is too full to forget old contracts; trying again")
        scheduler.forget_ended(trimmed)
        if sum(trimmed.values()) < limits.RETENTION_TRIM_MAX:
            await asyncio.sleep(limits.RETENTION_SWEEP_SECONDS)
