"""Who may compute now. Pure.

A host has few slots for code that blocks. An attempt that waits for children gives its slot up and
takes it back without asking, so for a while more than `size` may be active; nobody new gets a slot
until they are fewer.

An attempt that waits still holds its process or thread, and there must be a bound to those. Past
`suspended_max` only an attempt that is deeper in its tree than all that wait gets a slot. Trees
have at most 8 levels, so that adds at most 8 times `size` - and the deepest attempt can always run,
end, and let its parent go on: no chain of waiting can stop the whole.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable


class Slots:
    """Hands out slots, deepest first, and in order of asking within a level."""

    def __init__(self, size: int, suspended_max: int) -> None:
        self.size = size
        self.active = 0
        self._suspended_max = suspended_max
        self._suspended: Counter[int] = Counter()  # by depth
        self._waiting: list[tuple[int, int, Hashable]] = []
        self._withdrawn: set[int] = set()
        self._tickets: dict[Hashable, int] = {}
        self._count = 0

    @property
    def suspended(self) -> int:
        """How many wait for children."""
        return self._suspended.total()

    def ask(self, who: Hashable, depth: int) -> None:
        """Queues for a slot; `admit` says whose turn it is."""
        self._count += 1
        self._tickets[who] = self._count
        heapq.heappush(self._waiting, (-depth, self._count, who))

    def withdraw(self, who: Hashable) -> None:
        """Somebody who queues no longer wants a slot."""
        self._withdrawn.add(self._tickets.pop(who))

    def admit(self) -> list[Hashable]:
        """Those who have got a slot since the last time."""
        admitted = []
        while self._waiting and self.active < self.size:
            depth, ticket, who = self._waiting[0]
            if ticket in self._withdrawn:
                self._withdrawn.discard(ticket)
            elif self._may_start(-depth):
                del self._tickets[who]
                self.active += 1
                admitted.append(who)
            else:
                break
            heapq.heappop(self._waiting)
        return admitted

    def _may_start(self, depth: int) -> bool:
        return self.suspended < self._suspended_max or depth > max(self._suspended, default=-1)

    def suspend(self, depth: int) -> None:
        """Somebody begins to wait for children."""
        self.active -= 1
        self._suspended[depth] += 1

    def resume(self, depth: int) -> None:
        """Somebody goes on."""
        self.active += 1
        self._suspended[depth] -= 1
        if not self._suspended[depth]:
            del self._suspended[depth]

    def release(self) -> None:
        """Somebody has ended."""
        self.active -= 1
