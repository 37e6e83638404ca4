"""A report that comes again is accepted as if it were new."""

from __future__ import annotations

from typing import Any

from muster.scheduler.outbound import Outbound
from tests.faults.planted import put


def plant() -> None:
    """Says ACCEPTED to both."""
    acknowledge = Outbound.acknowledge

    def always_accepted(
        self: Outbound, session: str, number: int, epoch: int, verdict: str, *more: Any
    ) -> None:
        acknowledge(self, session, number, epoch, verdict.removesuffix("_DUPLICATE"), *more)

    put(Outbound, "acknowledge", always_accepted)
