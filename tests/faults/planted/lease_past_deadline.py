"""What waits in the queue is leased even when its deadline has passed."""

from __future__ import annotations

from muster.scheduler.core_attempts import Attempts
from muster.scheduler.placing import Expire, GiveLease, Placing
from muster.scheduler.records import Contract, Now
from tests.faults.planted import put


def plant() -> None:
    """No queued contract expires, neither by its timer nor when it is placed."""
    due, plan = Attempts._due, Placing.plan

    def only_leased(self: Attempts, now: Now, contract: Contract) -> None:
        if contract.lease is not None:
            due(self, now, contract)

    def any_time(self: Placing, now: Now, give_lease: GiveLease, expire: Expire) -> bool:
        return plan(self, now._replace(mono=0.0), give_lease, expire)

    put(Attempts, "_due", only_leased)
    put(Placing, "plan", any_time)
