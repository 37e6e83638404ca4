"""Events for each of several agents: one reader of the bus, and every agent at its own place.

What a subscription of the bus brings is in a *ring*, once for all that follow it: the newest, so
many and so many bytes. An agent is a *follower*, which is little more than a position. It is handed
what comes next while its window has room; one that is so slow that the ring runs over what it has
not had yet goes on with the oldest that is there, and is told how many it has missed. So a slow
agent holds up nobody, and nobody has a queue.

A ring that *catches up* reads what is past, for agents that begin there. A follower leaves it for
the ring of what comes now as soon as that one surely has everything that it has not.

A *feed* is what waits for one session. Followers of the same ring at the same place are together in
a bucket, so that an event goes into a frame once, with the names of those that get it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from muster.executor.core_groups import Member
from muster.executor.core_state import Counts
from muster.model import limits

NAME_BYTES = 3  # of an agent in a frame, beside its characters


class Entry(NamedTuple):
    """An event; opaque, with its number on the bus and its size."""

    sequence: int
    size: int
    item: Any


class Ring:
    """The newest of what one subscription of the bus has brought."""

    def __init__(self, tenant: str, pattern: str, live: Ring | None = None) -> None:
        self.tenant = tenant
        self.pattern = pattern
        self.live = live  # of one that catches up: where its followers go
        self.since_ms: int | None = None  # where one that catches up begins, or …
        self.from_sequence: int | None = None
        self.has_begun = False  # the bus has been told where it begins
        self.is_open = False  # whatever is published from here on will come
        self.at_end = False  # what was past has come
        self.followers: dict[Follower, None] = {}
        self.deserted_at: float | None = None  # since when nobody follows it
        self.on_progress: Callable[[], None] = _nothing
        self.base = 0  # place of the oldest entry
        self.last = 0  # sequence of the newest that ever came
        self.first: int | None = None  # sequence of the first that came
        self.lost = 0  # sequence of the newest that is here no longer
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    @property
    def next(self) -> int:
        """The place of the entry to come."""
        return self.base + len(self._entries)

    def at(self, place: int) -> Entry:
        """The entry at a place that is here."""
        return self._entries[place - self.base]

    def add(self, entries: Iterable[Entry]) -> None:
        """These have come, in order."""
        for entry in entries:
            if entry.sequence <= self.last or entry.sequence < (self.from_sequence or 0):
                self._begin_again()
            self.from_sequence = None
            if self.first is None:
                self.first = entry.sequence
            self.last = entry.sequence
            self._entries.append(entry)
            self._bytes += entry.size
            while len(self._entries) > 1 and self._is_over:
                self._lose()
        for follower in self.followers:
            follower.look()

    def trim(self) -> None:
        """Let go what everybody has had, but for some for those that come back."""
        if not self._is_more_than_kept:
            return
        slowest = min((each.place for each in self.followers), default=self.next)
        while self.base < slowest and self._is_more_than_kept:
            self._lose()

    @property
    def _is_more_than_kept(self) -> bool:
        too_many = len(self._entries) > limits.EVENT_RING_KEPT_EVENTS
        return too_many or self._bytes > limits.EVENT_RING_KEPT_BYTES

    @property
    def _is_over(self) -> bool:
        too_many = len(self._entries) > limits.EVENT_RING_EVENTS_MAX
        return too_many or self._bytes > limits.EVENT_RING_BYTES_MAX

    def _lose(self) -> None:
        entry = self._entries.popleft()
        self._bytes -= entry.size
        self.base += 1
        self.lost = entry.sequence

    def _begin_again(self) -> None:
        """The bus has lost everything, and counts from its beginning."""
        while self._entries:
            self._lose()
        self.first, self.last, self.lost = None, 0, 0
        for follower in self.followers:
            follower.after = 0

    def has_all_from(self, sequence: int) -> bool:
        """Whether everything from there on is here or will come. Not so for a number that this one
        has not reached: whoever has it may know better, or speak of another bus."""
        if self.first is None or sequence > self.last + 1:
            return False
        return sequence >= self.first and sequence > self.lost

    def place_after(self, sequence: int) -> int:
        """The place of the first entry behind a sequence."""
        return self.base + bisect_right(self._entries, sequence, key=lambda each: each.sequence)

    @property
    def is_full(self) -> bool:
        """Whether the slowest follower has half of what fits before it."""
        slowest = min((each.place for each in self.followers), default=self.next)
        if slowest <= self.base and self._bytes > limits.EVENT_RING_BYTES_MAX // 2:
            return True
        return self.next - slowest > limits.EVENT_RING_EVENTS_MAX // 2


class Follower:
    """An agent's place in a ring."""

    __slots__ = (
        "after",
        "agent",
        "feed",
        "is_gone",
        "is_queued",
        "missing",
        "place",
        "ring",
        "unacked",
        "window",
    )

    def __init__(self, feed: Feed, agent: str, window: int) -> None:
        self.feed = feed
        self.agent = agent
        self.window = window
        self.ring: Ring
        self.place = 0
        self.after = 0  # the last sequence that it has had, or does not want
        self.missing = 0  # that it has not been told of
        self.unacked: set[int] | None = None  # made for those that have any
        self.is_queued = False
        self.is_gone = False

    def follow(self, ring: Ring, place: int) -> None:
        """Go on there."""
        self.ring = ring
        self.place = place
        ring.followers[self] = None
        self.look()

    def look(self) -> None:
        """There may be something to hand out."""
        if not self.is_queued and self._has_room() and self.place < self.ring.next:
            self.is_queued = True
            self.feed.put(self)

    def _has_room(self) -> bool:
        return self.unacked is None or len(self.unacked) < self.window

    def take(self, entry: Entry) -> bool:
        """Have what is at its place, and go on; whether it wants it."""
        self.is_queued = False
        self.place += 1
        wanted = entry.sequence > self.after
        if wanted:
            self.after = entry.sequence
            if self.unacked is None:
                self.unacked = {entry.sequence}
            else:
                self.unacked.add(entry.sequence)
        if self.ring.live is not None:
            self.ring.on_progress()
            self.move_on()
        self.look()
        return wanted

    def move_on(self) -> None:
        """Leave a ring that catches up, where nothing would be missed."""
        ring, live = self.ring, self.ring.live
        if live is None or self.place < ring.next or self.is_queued:
            return
        self.after = max(self.after, ring.last)
        complete = ring.at_end and live.is_open and (self.after > 0 or not live.last)
        if not complete and not live.has_all_from(self.after + 1):
            return
        if live.lost > self.after:
            return
        place = live.next if self.after > live.last else live.place_after(self.after)
        if ring.first is None:
            # Nothing was there, so this number may be of another bus, whose own are smaller.
            self.after = 0
        del ring.followers[self]
        self.follow(live, place)

    def acknowledge(self, sequence: int) -> None:
        """The agent has dealt with an event."""
        if self.unacked is not None:
            self.unacked.discard(sequence)
            if not self.unacked:
                self.unacked = None
            self.look()

    def leave(self) -> None:
        """Nobody follows any more."""
        self.is_gone = True
        self.ring.followers.pop(self, None)
        self.ring.on_progress()


class Feed:
    """What waits for one session. `wake` is called when there is something."""

    def __init__(self, counts: Counts, wake: Callable[[], None]) -> None:
        self.places: dict[str, dict[str, Follower | Member]] = {}  # agent -> pattern -> place
        self.count = 0  # of places
        self._counts = counts
        self._wake = wake
        self._buckets: dict[tuple[Ring, int], list[Follower]] = {}
        self._members: deque[Member] = deque()

    @property
    def has_some(self) -> bool:
        """Whether there is something for a frame."""
        return bool(self._buckets or self._members)

    def put(self, waiting: Follower | Member) -> None:
        """Something waits for an agent."""
        if isinstance(waiting, Follower):
            place = (waiting.ring, waiting.place)
            self._buckets.setdefault(place, []).append(waiting)
        else:
            self._members.append(waiting)
        self._wake()

    def take(self, room: int) -> Taken:
        """As much as fits into so many bytes, one event at least; groups and rings in turn."""
        taken = Taken([], [])
        while self._members and len(taken.events) < limits.FRAME_ITEMS_MAX:
            member = self._members[0]
            if not member.waiting:  # it left, or its events were given back
                self._members.popleft()
                member.is_queued = False
                continue
            size = member.waiting[0].size
            if taken.events and size > room // 2:
                break
            room -= size
            offered = member.take()
            event = Event(member.group.pattern, [member.agent], offered.item, offered.again)
            taken.events.append(event)
            self._counts.events += 1
            self._members.rotate(-1)
        while self._buckets and len(taken.events) < limits.FRAME_ITEMS_MAX:
            ring, place = next(iter(self._buckets))
            if place < ring.base:
                self._skip(ring, place, taken)
                continue
            entry = ring.at(place)
            bucket = self._buckets[ring, place]
            followers = bucket[: limits.EVENT_AGENTS_MAX]
            size = entry.size + sum(len(each.agent) + NAME_BYTES for each in followers)
            if taken.events and size > room:
                break
            room -= size
            if len(bucket) > len(followers):
                self._buckets[ring, place] = bucket[len(followers) :]
            else:
                del self._buckets[ring, place]
            agents = [each.agent for each in followers if not each.is_gone and each.take(entry)]
            if agents:
                self._counts.events += len(agents)
                taken.events.append(Event(ring.pattern, agents, entry.item, again=False))
        return taken

    def _skip(self, ring: Ring, place: int, taken: Taken) -> None:
        """These were too slow."""
        followers = [each for each in self._buckets.pop((ring, place)) if not each.is_gone]
        for each in followers:
            each.place = ring.base
            each.is_queued = False
            each.look()
        if followers:
            self._counts.events_missed += len(followers) * (ring.base - place)
            agents = [each.agent for each in followers]
            taken.gaps.append(Gap(ring.pattern, agents, ring.base - place))


class Event(NamedTuple):
    """An event for some agents of a session."""

    pattern: str
    agents: list[str]
    item: Any
    again: bool


class Gap(NamedTuple):
    """Events that some agents of a session have missed."""

    pattern: str
    agents: list[str]
    missing: int


class Taken(NamedTuple):
    """What goes into a frame."""

    gaps: list[Gap]
    events: list[Event]


def _nothing() -> None:
    """Nobody waits."""
