"""Whoever watches is not told that an attempt started."""

from __future__ import annotations

from collections.abc import Sequence

from muster.model.ledger import LifecycleEvent
from muster.model.states import EventType
from muster.scheduler.hub import Hub
from tests.faults.planted import put


def plant() -> None:
    """Leaves it out of what is published."""
    publish = Hub.publish

    def all_but_starts(self: Hub, position: int, events: Sequence[LifecycleEvent]) -> None:
        publish(self, position, [each for each in events if each.type is not EventType.STARTED])

    put(Hub, "publish", all_but_starts)
