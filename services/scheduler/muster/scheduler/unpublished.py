"""Which events are to be published next, and how far everything has been.

Rules:

- Of a contract only its oldest unpublished event is under way. Whatever the bus refuses, loses or
  answers too late, the next one has not left yet, so its events arrive in order and without a gap.
- Events of different contracts do not wait for each other: nobody is promised an order there.
- A shard has been published up to a position when nothing at it or before is left.

The key of an event is its shard, or 0 for all of them where one process owns every shard: what its
positions are comparable within.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from muster.model.ledger import LifecycleEvent
from muster.model.records import RunEntry

Happened = LifecycleEvent | RunEntry


class Entry:
    """An event that is not known to be published."""

    __slots__ = ("done", "event", "key", "position")

    def __init__(self, key: int, position: int, event: Happened) -> None:
        self.key = key
        self.position = position
        self.event = event
        self.done = False


class Unpublished:
    """Everything between the ledger and the bus, in order."""

    def __init__(self) -> None:
        self._order: dict[int, deque[Entry]] = {}  # by key, in order of position
        self._reached: dict[int, int] = {}  # position up to which all of a key has been published
        self._contracts: dict[int, deque[Entry]] = {}  # the first of each is ready or under way
        self._ready: deque[Entry] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def oldest_ms(self) -> int:
        """When the oldest event happened; 0 where there is none."""
        return min((order[0].event.time_ms for order in self._order.values() if order), default=0)

    def begin(self, key: int, position: int) -> None:
        """Whatever there was of a key is void: it goes on after a position."""
        self.forget([key])
        self._order[key] = deque()
        self._reached[key] = position

    def forget(self, keys: Collection[int]) -> None:
        """Somebody else publishes these."""
        gone = [key for key in keys if key in self._order]
        if not gone:
            return
        for key in gone:
            self._size -= sum(not entry.done for entry in self._order.pop(key))
            del self._reached[key]
        kept = ((number, queue) for number, queue in self._contracts.items())
        self._contracts = {number: queue for number, queue in kept if queue[0].key not in gone}
        self._ready = deque(entry for entry in self._ready if entry.key not in gone)

    def add(self, key: int, position: int, events: Iterable[Happened]) -> None:
        """The events of one commit, later than all before of this key."""
        order = self._order[key]
        for event in events:
            entry = Entry(key, position, event)
            order.append(entry)
            self._size += 1
            queue = self._contracts.get(event.contract_id)
            if queue is None:
                self._contracts[event.contract_id] = deque((entry,))
                self._ready.append(entry)
            else:
                queue.append(entry)
        if not order:
            self._reached[key] = position

    def take(self, limit: int) -> list[Entry]:
        """What may be under way together, oldest first; `settle` is owed for each."""
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    def settle(self, entries: Sequence[Entry], acknowledged: Sequence[bool]) -> None:
        """Which of the entries taken are on the bus now; the others come again, and first."""
        again = []
        for entry, is_there in zip(entries, acknowledged, strict=True):
            queue = self._contracts.get(entry.event.contract_id)
            if queue is None or queue[0] is not entry:
                continue  # forgotten meanwhile
            if not is_there:
                again.append(entry)
                continue
            entry.done = True
            self._size -= 1
            queue.popleft()
            if queue:
                self._ready.append(queue[0])
            else:
                del self._contracts[entry.event.contract_id]
        self._ready.extendleft(reversed(again))
        for key in {entry.key for entry in entries}:
            self._advance(key)

    def _advance(self, key: int) -> None:
        order = self._order.get(key)
        if order is None:
            return
        while order and order[0].done:
            self._reached[key] = order.popleft().position
        if order and order[0].position == self._reached[key]:
            self._reached[key] -= 1  # a part of that commit is left

    def marks(self) -> dict[int, int]:
        """Position up to which all of each key has been published."""
        return dict(self._reached)
