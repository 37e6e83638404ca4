"""The second part of every output is acknowledged, and neither kept nor relayed."""

from __future__ import annotations

from muster.scheduler.records import Contract, Lease
from muster.scheduler.service import Scheduler
from muster.v1.event_pb2 import StreamItem
from tests.faults.planted import put


def plant() -> None:
    """Loses it where items are kept."""
    keep_item = Scheduler.keep_item

    def all_but_one(
        self: Scheduler, contract: Contract, lease: Lease, item: StreamItem, kind: int
    ) -> None:
        if not (item.HasField("output") and item.output.chunk == 1):
            keep_item(self, contract, lease, item, kind)

    put(Scheduler, "keep_item", all_but_one)
