"""How late the event loop is: it wakes up now and then, and looks by how much it overslept."""

from __future__ import annotations

import asyncio

from muster.model import limits
from muster.runtime.distribution import MICROSECONDS, Distribution


class LoopLag:
    """Measures it while `run` runs."""

    def __init__(self) -> None:
        self.late = Distribution(MICROSECONDS)

    async def run(self) -> None:
        """Without end."""
        clock, period = asyncio.get_running_loop().time, limits.LOOP_LAG_PERIOD_SECONDS
        while True:
            due = clock() + period
            await asyncio.sleep(period)
            self.late.add(int((clock() - due) * 1e6))
