"""Events that several agents share: each goes to one of them.

A group is one member of the bus's group of that name, on behalf of all of its agents here. It
fetches no more than its agents have room for, and hands each event to the next agent in turn that
has room. What an agent has not acknowledged goes back to the bus, for whoever is next anywhere:
when the agent leaves, says that it failed, or takes too long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from muster.model import limits

if TYPE_CHECKING:
    from muster.executor.core_rings import Feed


class Offered(NamedTuple):
    """An event for a member; opaque, with its number on the bus and its size."""

    sequence: int
    size: int
    item: Any
    again: bool  # somebody may have had it before


class Member:
    """An agent of a group."""

    __slots__ = (
        "agent",
        "feed",
        "group",
        "held",
        "is_free",
        "is_gone",
        "is_queued",
        "waiting",
        "window",
    )

    def __init__(self, feed: Feed, agent: str, window: int) -> None:
        self.feed = feed
        self.agent = agent
        self.window = window
        self.group: Group
        self.held = 0  # events, those that wait included
        self.waiting: deque[Offered] | None = None  # for a frame
        self.is_queued = False
        self.is_free = False  # it is in the group's queue of those with room
        self.is_gone = False

    def take(self) -> Offered:
        """The next event, for a frame."""
        assert self.waiting
        return self.waiting.popleft()

    def acknowledge(self, sequence: int, *, failed: bool) -> None:
        """The agent has dealt with an event, or could not."""
        self.group.acknowledge(self, sequence, failed=failed)

    def close(self) -> None:
        """The agent takes nothing new."""
        self.window = 0

    def leave(self) -> None:
        """The agent takes nothing more, and what it holds is for others."""
        self.is_gone = True
        self.waiting = None
        self.group.leave(self)


class Group:
    """The agents of a group that are here. `changed` is called when there is something to say to
    the bus, or more to fetch."""

    def __init__(self, tenant: str, pattern: str, name: str) -> None:
        self.tenant = tenant
        self.pattern = pattern
        self.name = name
        self.since_ms: int | None = None
        self.from_sequence: int | None = None
        self.is_open = False
        self.members: dict[Member, None] = {}
        self.deserted_at: float | None = None  # since when nobody is here
        self.changed: Callable[[], None] = _nothing
        self.done: list[int] = []  # to be told to the bus: these are acknowledged, …
        self.returned: list[int] = []  # … and these are for somebody else
        self._held: dict[int, tuple[Member, float]] = {}  # who, and since when; oldest first
        self._free: deque[Member] = deque()

    def join(self, member: Member) -> None:
        """An agent takes part from now on."""
        member.group = self
        self.members[member] = None
        self._offer_room(member)

    def leave(self, member: Member) -> None:
        """An agent does so no more."""
        self.members.pop(member, None)
        for sequence in [number for number, (who, _) in self._held.items() if who is member]:
            del self._held[sequence]
            self.returned.append(sequence)
        self.changed()

    @property
    def room(self) -> int:
        """How many events could be handed out now."""
        return sum(max(0, each.window - each.held) for each in self._free if not each.is_gone)

    @property
    def held(self) -> list[int]:
        """Events that agents work on."""
        return list(self._held)

    def offer(self, event: Offered, now: float) -> None:
        """An event has come; without room it goes back."""
        if event.sequence in self._held:
            return  # the bus gave it up for lost, and its agent is still there
        while self._free:
            member = self._free.popleft()
            member.is_free = False
            if member.is_gone or member.held >= member.window:
                continue
            self._held[event.sequence] = (member, now)
            member.held += 1
            if member.waiting is None:
                member.waiting = deque()
            member.waiting.append(event)
            if not member.is_queued:
                member.is_queued = True
                member.feed.put(member)
            self._offer_room(member)
            return
        self.returned.append(event.sequence)
        self.changed()

    def acknowledge(self, member: Member, sequence: int, *, failed: bool) -> None:
        """An agent has dealt with an event, or could not."""
        holder = self._held.get(sequence)
        if holder is None or holder[0] is not member:
            return
        del self._held[sequence]
        member.held -= 1
        (self.returned if failed else self.done).append(sequence)
        self._offer_room(member)
        self.changed()

    def sweep(self, now: float) -> None:
        """Take back what was handed out too long ago."""
        late = []
        for sequence, (member, since) in self._held.items():
            if now - since < limits.EVENT_ACK_SECONDS:
                break
            late.append((sequence, member))
        for sequence, member in late:
            if member.waiting:
                member.waiting = deque(x for x in member.waiting if x.sequence != sequence)
            self.acknowledge(member, sequence, failed=True)

    def _offer_room(self, member: Member) -> None:
        if member.held < member.window and not member.is_free and not member.is_gone:
            member.is_free = True
            self._free.append(member)
            self.changed()


def _nothing() -> None:
    """Nobody listens."""
