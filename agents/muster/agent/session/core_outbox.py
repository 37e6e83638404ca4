"""What a host has to say on its session, cut into frames. Pure, as `core` is.

- What a later word implies is not said: no `accepted` where `started` is still unsent, and neither
  where the report is. A suspend and a resume that meet before they are sent cancel each other out,
  because a frame has one order of kinds.
- An attempt's report waits until the last of its stream items has gone into a frame.
- In a frame stream items have the first half of the bytes and reports what is left. Items go round
  robin over agents, so that one that talks much delays only itself.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from itertools import islice
from typing import Any, NamedTuple

from muster.model import limits

Key = tuple[str, int]  # contract id, epoch


class LeaseState(IntEnum):
    """What a host does with a lease. The numbers are those of `muster.v1.HeldState`."""

    ACCEPTED = 1
    STARTED = 2
    SUSPENDED = 3
    REPORTED = 4


class Item(NamedTuple):
    """A stream item on its way: opaque, with its place and size."""

    place: int  # counts the attempt's items from 1
    message: Any
    size_bytes: int


class Lease:
    """One attempt that the host holds."""

    __slots__ = (
        "agent",
        "cancelled",
        "index",
        "items_acked",
        "items_queued",
        "key",
        "live",
        "refused",
        "report",
        "report_bytes",
        "state",
        "told",
        "unacked",
        "unacked_bytes",
    )

    def __init__(self, key: Key, agent: str) -> None:
        self.key = key
        self.agent = agent
        self.state = LeaseState.ACCEPTED
        self.told = LeaseState.ACCEPTED  # the state that the last hello named
        self.live = True  # bound to the current session
        self.cancelled = False
        self.refused = False
        self.report: Any = None
        self.report_bytes = 0
        self.index = 0  # of the last stream item made
        self.items_acked = 0
        self.items_queued = 0
        self.unacked: deque[Item] | None = None  # made for the few attempts that have any
        self.unacked_bytes = 0


class Frame:
    """What goes out in one write, in the order in which the mesh processes it."""

    __slots__ = (
        "accepts",
        "attaches",
        "detaches",
        "event_acks",
        "heartbeat",
        "hello",
        "items",
        "leaving",
        "publishes",
        "reports",
        "resumes",
        "returns",
        "seen_seq",
        "seq",
        "starts",
        "stops",
        "suspends",
    )

    def __init__(self, seq: int, seen_seq: int) -> None:
        self.seq = seq
        self.seen_seq = seen_seq
        self.hello: list[Lease] | None = None  # every lease held, when this frame opens a session
        self.attaches: list[str] = []
        self.detaches: list[str] = []
        self.accepts: list[Key] = []
        self.starts: list[Key] = []
        self.items: list[Any] = []
        self.suspends: list[Key] = []
        self.resumes: list[Key] = []
        self.returns: list[tuple[Key, str]] = []
        self.reports: list[Any] = []
        self.stops: list[Key] = []
        self.event_acks: list[tuple[EventPlace, list[str]]] = []
        self.publishes: list[Any] = []
        self.heartbeat: list[Lease] | None = None  # every lease held, when one is due
        self.leaving = False


ACK_BYTES = 20  # of an event's acknowledgement, beside pattern and agents
ATTACHES_MAX = 32  # in a frame: agents with all their schemas are large

Lane = deque[tuple[Lease, Item]]
EventPlace = tuple[str, int, bool]  # pattern, sequence, failed


class Outbox:
    """What waits to be sent on one session."""

    def __init__(self) -> None:
        self.frame_items_max = limits.FRAME_ITEMS_MAX
        self.frame_bytes_max = limits.FRAME_BYTES_MAX
        self.clear()

    def clear(self) -> None:
        """A new session begins: nothing of the old one is sent any more."""
        self.seen_seq = 0
        self._seq = 0
        self._control = False  # whether anything but reports and items waits
        self._leaving = False
        self._attaches: dict[str, None] = {}
        self._detaches: dict[str, None] = {}
        self._accepts: dict[Key, None] = {}
        self._starts: dict[Key, None] = {}
        self._suspends: dict[Key, None] = {}
        self._resumes: dict[Key, None] = {}
        self._returns: dict[Key, str] = {}
        self._stops: dict[Key, None] = {}
        self._reports: deque[Lease] = deque()
        self._event_acks: dict[EventPlace, list[str]] = {}  # agents
        self._publishes: deque[tuple[Any, int]] = deque()
        self._lane_of: dict[str, Lane] = {}
        self._turns: deque[Lane] = deque()  # the lanes that are not empty

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        if self._control:
            self._control = self._has_control()
        return not (
            self._control or self._reports or self._turns or self._event_acks or self._publishes
        )

    def _has_control(self) -> bool:
        """Whether words about leases or agents wait; some take back what was to be said."""
        return bool(
            self._accepts
            or self._starts
            or self._suspends
            or self._resumes
            or self._stops
            or self._returns
            or self._attaches
            or self._detaches
            or self._leaving
        )

    def leave(self) -> None:
        self._leaving = self._control = True

    def attach(self, agent: str) -> None:
        self._detaches.pop(agent, None)
        self._attaches[agent] = None
        self._control = True

    def detach(self, agent: str) -> None:
        self._attaches.pop(agent, None)
        self._detaches[agent] = None
        self._control = True

    def accept(self, key: Key) -> None:
        self._accepts[key] = None
        self._control = True

    def start(self, key: Key) -> None:
        self._accepts.pop(key, None)
        self._starts[key] = None
        self._control = True

    def suspend(self, key: Key) -> None:
        self._toggle(key, self._suspends, self._resumes)

    def resume(self, key: Key) -> None:
        self._toggle(key, self._resumes, self._suspends)

    def _toggle(self, key: Key, wanted: dict[Key, None], opposite: dict[Key, None]) -> None:
        if key in opposite:
            del opposite[key]
        else:
            wanted[key] = None
            self._control = True

    def give_back(self, key: Key, reason: str) -> None:
        self._returns[key] = reason
        self._control = True

    def stop(self, key: Key) -> None:
        self._stops[key] = None
        self._control = True

    def item(self, lease: Lease, item: Item) -> None:
        lane = self._lane_of.get(lease.agent)
        if lane is None:
            lane = self._lane_of[lease.agent] = deque()
        if not lane:
            self._turns.append(lane)
        lane.append((lease, item))
        lease.items_queued += 1

    def report(self, lease: Lease) -> None:
        self._accepts.pop(lease.key, None)
        self._starts.pop(lease.key, None)
        if self._suspends:
            self._suspends.pop(lease.key, None)
        if not lease.items_queued:
            self._reports.append(lease)

    def acknowledge(self, agent: str, place: EventPlace) -> None:
        """An agent has dealt with an event."""
        self._event_acks.setdefault(place, []).append(agent)

    def publish(self, message: Any, size_bytes: int) -> None:
        """An agent publishes an event."""
        self._publishes.append((message, size_bytes))

    def forget(self, key: Key) -> None:
        """Nothing more is said about an attempt; its items and report are passed over when met."""
        for kind in (self._accepts, self._starts, self._suspends, self._resumes):
            kind.pop(key, None)

    def take(self, held: list[Lease] | None) -> Frame | None:
        """The next frame, or None when there is nothing to say. `held` is for a due heartbeat."""
        if held is None and self.empty:
            return None
        self._seq += 1
        frame = Frame(self._seq, self.seen_seq)
        frame.heartbeat = held
        if self._control:
            self._take_control(frame)
        budget = self.frame_bytes_max
        if self._turns:
            budget -= self._take_items(frame, budget // 2)
        if self._reports:
            budget -= self._take_reports(frame, budget)
        if self._event_acks:
            budget -= self._take_event_acks(frame, max(budget, self.frame_bytes_max // 4))
        while self._publishes and len(frame.publishes) < self.frame_items_max:
            message, size_bytes = self._publishes[0]
            if (frame.publishes or frame.items or frame.reports) and size_bytes > budget:
                break
            self._publishes.popleft()
            budget -= size_bytes
            frame.publishes.append(message)
        return frame

    def _take_control(self, frame: Frame) -> None:
        most = self.frame_items_max
        frame.attaches = _taken(self._attaches, ATTACHES_MAX)
        frame.detaches = _taken(self._detaches, most)
        frame.accepts = _taken(self._accepts, most)
        frame.starts = _taken(self._starts, most)
        frame.suspends = _taken(self._suspends, most)
        frame.resumes = _taken(self._resumes, most)
        frame.stops = _taken(self._stops, most)
        frame.returns = [(key, self._returns.pop(key)) for key in list(self._returns)[:most]]
        frame.leaving, self._leaving = self._leaving, False

    def _take_items(self, frame: Frame, bytes_max: int) -> int:
        taken_bytes = 0
        while self._turns and len(frame.items) < self.frame_items_max:
            lane = self._turns[0]
            lease, item = lane[0]
            if frame.items and taken_bytes + item.size_bytes > bytes_max:
                break
            lane.popleft()
            self._turns.popleft()
            if lane:
                self._turns.append(lane)
            else:
                del self._lane_of[lease.agent]
            lease.items_queued -= 1
            if lease.live:
                frame.items.append(item.message)
                taken_bytes += item.size_bytes
                if not lease.items_queued and lease.state is LeaseState.REPORTED:
                    self._reports.append(lease)
        return taken_bytes

    def _take_event_acks(self, frame: Frame, bytes_max: int) -> int:
        taken_bytes = 0
        while self._event_acks and len(frame.event_acks) < self.frame_items_max:
            place, agents = next(iter(self._event_acks.items()))
            chosen = agents[: limits.EVENT_AGENTS_MAX]
            size = len(place[0]) + ACK_BYTES + sum(len(each) + 2 for each in chosen)
            if frame.event_acks and taken_bytes + size > bytes_max:
                break
            taken_bytes += size
            if len(agents) > len(chosen):
                self._event_acks[place] = agents[len(chosen) :]
            else:
                del self._event_acks[place]
            frame.event_acks.append((place, chosen))
        return taken_bytes

    def _take_reports(self, frame: Frame, bytes_max: int) -> int:
        reports = self._reports
        taken_bytes = 0
        while reports and len(frame.reports) < self.frame_items_max:
            lease = reports[0]
            if frame.reports and taken_bytes + lease.report_bytes > bytes_max:
                break
            reports.popleft()
            if lease.live:
                frame.reports.append(lease.report)
                taken_bytes += lease.report_bytes
        return taken_bytes


def _taken(kind: dict[Any, None], most: int) -> list[Any]:
    if len(kind) <= most:
        taken = list(kind)
        kind.clear()
        return taken
    taken = list(islice(kind, most))
    for key in taken:
        del kind[key]
    return taken
