"""Who waits for what: callers for the end of contracts, watchers for events and stream items.

Nothing here waits. Listeners are told by a method call that must return at once; a watcher has a
bounded backlog and is told to resume from its cursor when it falls behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from muster.model import limits
from muster.model.errors import MusterError, ResourceExhausted
from muster.model.ledger import LifecycleEvent
from muster.model.records import RunEntry
from muster.scheduler.messages_out import event_of
from muster.v1.event_pb2 import Event, StreamItem
from muster.v1.response_pb2 import Response


class Listener(Protocol):
    """Somebody who submitted, or waits for, a contract."""

    def on_accepted(self, request_id: str, contract_id: int, *, duplicate: bool) -> None:
        """The contract is durable."""

    def on_refused(self, request_id: str, error: MusterError) -> None:
        """Nothing was recorded."""

    def on_ended(self, contract_id: int, response: Response) -> None:
        """The response is durable."""

    def on_moved(self, error: MusterError) -> None:
        """Another scheduler owns the contract now: ask again."""


class Published:
    """A committed event with the position of its commit; its message is made once for all."""

    __slots__ = ("_message", "event", "position")

    def __init__(self, position: int, event: LifecycleEvent | RunEntry) -> None:
        self.position = position
        self.event = event
        self._message: Event | None = None

    @property
    def message(self) -> Event:
        """The event for the wire; shared, so not to be changed."""
        if self._message is None:
            assert isinstance(self.event, LifecycleEvent)
            self._message = event_of(self.event)
        return self._message


class Watcher:
    """One watch call's backlog: events and stream items.

    One that is not `follows_shards` fails when other shards are owned than before: their past would
    be told after their present. Whoever watches goes on from the cursor.
    """

    def __init__(
        self,
        wants: Callable[[LifecycleEvent], bool] | None = None,
        *,
        follows_shards: bool = False,
        takes_runs: bool = False,
    ) -> None:
        self.wants = wants
        self.takes_runs = takes_runs  # entries of runs' journals, too
        self.follows_shards = follows_shards
        self.events: deque[Published] = deque()
        self.items: deque[StreamItem] = deque()
        self.response: Response | None = None
        self._bytes = 0  # of the items
        self._overrun = False
        self._error: MusterError | None = None
        self._something = asyncio.Event()

    def put(self, entry: Published | StreamItem, size: int = 0) -> None:
        """Add to the backlog; beyond its bound the watcher is cut off. `size` is in bytes, of
        an item."""
        waiting = len(self.events) + len(self.items)
        too_large = self._bytes + size > limits.WATCHER_BACKLOG_BYTES_MAX
        if waiting >= limits.WATCHER_BACKLOG_MAX or (too_large and waiting) or self._overrun:
            self._overrun = True
            self.events.clear()
            self.items.clear()
        elif isinstance(entry, StreamItem):
            self.items.append(entry)
            self._bytes += size
        else:
            self.events.append(entry)
        self._something.set()

    def take_items(self) -> list[StreamItem]:
        """All items of the backlog, which it then no longer has."""
        items = list(self.items)
        self.items.clear()
        self._bytes = 0
        return items

    def restart(self) -> None:
        """Begin again with an empty backlog."""
        self._overrun = False
        self.events.clear()
        self.take_items()

    @property
    def is_overrun(self) -> bool:
        """Whether something had to be left out of the backlog."""
        return self._overrun

    def fail(self, error: MusterError) -> None:
        """Whoever waits gets this error."""
        self._error = error
        self._something.set()

    def end(self, response: Response) -> None:
        """The watched contract has ended."""
        self.response = response
        self._something.set()

    async def wait(self) -> None:
        """Until there is something. Raises when the watcher was too slow."""
        await self._something.wait()
        self._something.clear()
        self.check()

    def check(self) -> None:
        """Raises when the watcher was too slow, or is to ask again."""
        if self._error is not None:
            raise self._error
        if self._overrun:
            raise ResourceExhausted(
                "the watcher was too slow; watch again from the last cursor",
                reason="WATCHER_TOO_SLOW",
            )


class Hub:
    """All listeners and watchers."""

    def __init__(self) -> None:
        self._listeners: dict[int, list[Listener]] = {}
        self._watchers: dict[int, list[Watcher]] = {}
        self._broad: list[Watcher] = []
        self._open = 0  # watchers of either kind

    def listen(self, contract_id: int, listener: Listener) -> None:
        """Tell `listener` when the contract has ended."""
        self._listeners.setdefault(contract_id, []).append(listener)

    def listeners(self, contract_id: int) -> list[Listener]:
        """Who listens now."""
        return list(self._listeners.get(contract_id, ()))

    def unlisten(self, contract_id: int, listener: Listener) -> None:
        """Stop telling it."""
        listeners = self._listeners.get(contract_id)
        if listeners is not None and listener in listeners:
            listeners.remove(listener)
            if not listeners:
                del self._listeners[contract_id]

    def watch(self, watcher: Watcher, contract_id: int = 0) -> None:
        """Feed a watcher: of one contract, or with 0 of every event that it wants."""
        if self._open >= limits.WATCHERS_MAX:
            raise ResourceExhausted(
                f"{limits.WATCHERS_MAX} watches are open; try again later",
                retry_after_seconds=limits.QUEUE_FULL_RETRY_SECONDS,
            )
        self._open += 1
        if contract_id:
            self._watchers.setdefault(contract_id, []).append(watcher)
        else:
            self._broad.append(watcher)

    def unwatch(self, watcher: Watcher, contract_id: int = 0) -> None:
        """Stop feeding it. Safe to call twice."""
        watchers = self._watchers.get(contract_id, []) if contract_id else self._broad
        if watcher in watchers:
            watchers.remove(watcher)
            self._open -= 1
        if contract_id and not watchers:
            self._watchers.pop(contract_id, None)

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches at all."""
        return bool(self._broad or self._watchers)

    @property
    def pace_seconds(self) -> float:
        """How long a watcher of many is to let events accumulate, on average, so that thousands of
        watchers leave time for work. 0 when they are few."""
        if len(self._broad) <= limits.WATCHERS_AT_ONCE:
            return 0.0
        return len(self._broad) / limits.WATCH_FRAMES_PER_SECOND_MAX

    def publish(self, position: int, events: Sequence[LifecycleEvent]) -> None:
        """Committed events, in order."""
        for event in events:
            published = Published(position, event)
            for watcher in self._watchers.get(event.contract_id, ()):
                watcher.put(published)
            for watcher in self._broad:
                if watcher.wants is None or watcher.wants(event):
                    watcher.put(published)

    def publish_runs(self, position: int, entries: Sequence[RunEntry]) -> None:
        """Committed entries of runs' journals, in order."""
        for watcher in self._broad:
            if watcher.takes_runs:
                for entry in entries:
                    watcher.put(Published(position, entry))

    def relay(self, contract_id: int, item: StreamItem) -> None:
        """A stream item, as soon as it is there."""
        watchers = self._watchers.get(contract_id)
        if watchers:
            size = item.ByteSize()
            for watcher in watchers:
                watcher.put(item, size)

    def moved(self, contract_id: int, error: MusterError) -> None:
        """Another scheduler owns the contract now: whoever waits for it is told to ask again."""
        for listener in self._listeners.pop(contract_id, ()):
            listener.on_moved(error)
        for watcher in self._watchers.get(contract_id, ()):
            watcher.fail(error)

    def shards_moved(self, error: MusterError) -> None:
        """Other shards are owned than before: whoever watches many contracts is to ask again."""
        for watcher in self._broad:
            if not watcher.follows_shards:
                watcher.fail(error)

    def ended(self, contract_id: int, response: Response) -> None:
        """A committed response."""
        for listener in self._listeners.pop(contract_id, ()):
            listener.on_ended(contract_id, response)
        for watcher in self._watchers.get(contract_id, ()):
            watcher.end(response)
