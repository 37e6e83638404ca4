"""Questions to the ledger that nobody waits for, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from muster.backends.ledger_base import Ledger
from muster.model.errors import MusterError
from muster.runtime.logs import get_logger
from muster.scheduler.committer import RETRY_SECONDS
from muster.scheduler.core import Core
from muster.scheduler.effects import LookUpReport
from muster.scheduler.outbound import Outbound
from muster.scheduler.rows import was_reported

LOOK_UPS_MAX = 10_000  # that wait; beyond it resends go unanswered

Question = Callable[[], Awaitable[None]]

_log = get_logger("muster.scheduler")


class LookUps:
    """Asks while `run` runs."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Question] = asyncio.Queue(LOOK_UPS_MAX)

    def __len__(self) -> int:
        """How many wait."""
        return self._waiting.qsize()

    def add(self, question: Question) -> None:
        """Ask this when its turn comes."""
        try:
            self._waiting.put_nowait(question)
        except asyncio.QueueFull:
            _log.warning("too many questions to the ledger wait; one goes unanswered")

    async def run(self) -> None:
        """Without end."""
        while True:
            await _answered(await self._waiting.get())


async def answer_resend(
    ledger: Ledger, core: Core, outbound: Outbound, effect: LookUpReport
) -> None:
    """A report for a contract that is not open: accepted before, or fenced."""
    session_id, number, epoch = effect
    found = await ledger.load([number])
    duplicate = bool(found) and was_reported(found[0], epoch)
    if not duplicate:
        core.counts["fenced"] += 1
    verdict = "ACCEPTED_DUPLICATE" if duplicate else "FENCED"
    outbound.acknowledge(session_id, number, epoch, verdict)


async def _answered(question: Question) -> None:
    """Asks again and again while the ledger is elsewhere and does not answer."""
    while True:
        try:
            await question()
            return
        except MusterError as error:
            if error.reason != "LEDGER_UNAVAILABLE":
                raise
        await asyncio.sleep(RETRY_SECONDS)
