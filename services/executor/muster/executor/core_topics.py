"""Who wants which events: the subscriptions of all agents of this executor.

The bus has one subscription for each pattern of a tenant, and one membership for each group,
whatever the number of agents; see `core_rings` and `core_groups`. Which of them are to be opened is
told in `opened`; the shell opens them, feeds them, and closes those that have been deserted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from muster.executor.core_groups import Group, Member
from muster.executor.core_rings import Feed, Follower, Ring
from muster.executor.core_state import Agent, Counts, Session
from muster.model import limits
from muster.model.errors import InvalidArgument, ResourceExhausted, Violation


class Wish(NamedTuple):
    """One subscription, as an agent asks for it."""

    pattern: str
    group: str | None  # of COMPETING; None for BROADCAST
    since_ms: int | None = None
    from_sequence: int | None = None
    window: int = limits.EVENTS_UNACKED_BROADCAST_DEFAULT


Source: TypeAlias = Ring | Group


class Topics:
    """All subscriptions. `wake` is called with sessions for which there is something."""

    def __init__(self, counts: Counts, wake: Callable[[Session], None]) -> None:
        self.rings: dict[tuple[str, str], Ring] = {}
        self.groups: dict[tuple[str, str, str], Group] = {}
        self.opened: list[Source] = []  # that the shell has not heard of
        self.subscriptions = 0
        self._counts = counts
        self._wake = wake
        self._behind: dict[Ring, None] = {}  # rings that catch up, and of these by where they …
        self._beginning: dict[tuple[str, str, int | None], Ring] = {}  # … begin the newest
        self._patterns: dict[str, int] = {}  # tenant -> rings and groups
        # Groups that the bus keeps for a tenant, also without members; when each was last wanted.
        self._kept: dict[str, dict[tuple[str, str], float]] = {}

    # --- agents come and go -----------------------------------------------------------------------

    def admit(self, session: Session, agent: str, wishes: Sequence[Wish], now: float) -> None:
        """Raises `MusterError` where an agent cannot have these."""
        patterns = [each.pattern for each in wishes]
        for number, pattern in enumerate(patterns):
            if pattern in patterns[:number]:
                field = f"spec.event_subscriptions[{number}].pattern"
                text = f"{pattern} is there twice; an agent has one subscription of a pattern"
                raise InvalidArgument(text, violations=[Violation(field, text)])
        had = session.feed.count if session.feed is not None else 0
        had -= len(self._of(session, agent))
        if had + len(wishes) > limits.EVENT_SUBSCRIPTIONS_PER_SESSION_MAX:
            most = limits.EVENT_SUBSCRIPTIONS_PER_SESSION_MAX
            raise ResourceExhausted(f"the agents of a session have at most {most} subscriptions")
        tenant = session.tenant
        new = {(each.pattern, each.group) for each in wishes if not self._has(tenant, each)}
        if self._patterns.get(tenant, 0) + len(new) > limits.EVENT_PATTERNS_PER_TENANT_MAX:
            most = limits.EVENT_PATTERNS_PER_TENANT_MAX
            raise ResourceExhausted(
                f"a tenant's agents subscribe to at most {most} different patterns and groups here"
            )
        sources = len(self.rings) + len(self.groups) + len(self._behind) + len(new)
        if sources > limits.EVENT_PATTERNS_MAX:
            raise ResourceExhausted("this executor has as many subscriptions as it can")

        self._admit_groups(tenant, wishes, now)

    def _admit_groups(self, tenant: str, wishes: Sequence[Wish], now: float) -> None:
        asked = {(each.pattern, each.group): now for each in wishes if each.group is not None}
        if not asked:
            return
        kept = self._kept.get(tenant, {})
        if len(kept.keys() | asked.keys()) > limits.EVENT_GROUPS_KEPT_PER_TENANT_MAX:
            before = now - limits.EVENT_GROUP_FORGET_SECONDS
            kept = {key: last for key, last in kept.items() if last > before}
            if len(kept.keys() | asked.keys()) > limits.EVENT_GROUPS_KEPT_PER_TENANT_MAX:
                raise ResourceExhausted(
                    "a tenant's agents have had too many different groups within a week; a group "
                    "is for many agents, and not made anew by each"
                )
        self._kept[tenant] = kept | asked

    def _has(self, tenant: str, wish: Wish) -> bool:
        if wish.group is None:
            return (tenant, wish.pattern) in self.rings
        return (tenant, wish.pattern, wish.group) in self.groups

    def subscribe(self, agent: Agent, wishes: Sequence[Wish]) -> list[Source]:
        """The agent has these subscriptions from now on, and no others; those that it has already
        go on where they are. Returns what is not open yet."""
        session = agent.session
        wanted = {each.pattern: each for each in wishes}
        for pattern, place in list(self._of(session, agent.name).items()):
            wish = wanted.get(pattern)
            if wish is not None and _group_of(place) == wish.group:
                place.window = wish.window
                del wanted[pattern]
            else:
                self._leave(session, agent.name, pattern)
        if not wanted:
            return []
        if session.feed is None:
            session.feed = Feed(self._counts, partial(self._wake, session))
        found: list[Source] = []
        for wish in wanted.values():
            self.subscriptions += 1
            session.feed.count += 1
            if wish.group is None:
                found.append(self._follow(session.feed, session.tenant, agent.name, wish))
            else:
                found.append(self._join(session.feed, session.tenant, agent.name, wish))
        return [each for each in found if not each.is_open]

    def unsubscribe(self, session: Session, agent: str) -> None:
        """The agent has none any more."""
        for pattern in list(self._of(session, agent)):
            self._leave(session, agent, pattern)

    def end(self, session: Session) -> None:
        """The session has no stream any more."""
        feed, session.feed = session.feed, None
        if feed is not None:
            self.subscriptions -= feed.count
            for places in feed.places.values():
                for place in places.values():
                    place.leave()
            feed.places.clear()

    def close(self, session: Session, agents: Iterable[str] | None = None) -> None:
        """The agents finish what they have, and share in nothing new; None: all of them."""
        if session.feed is not None:
            for agent in session.feed.places if agents is None else agents:
                for place in self._of(session, agent).values():
                    if isinstance(place, Member):
                        place.close()

    def acknowledge(
        self, session: Session, agent: str, pattern: str, sequences: Iterable[int], *, failed: bool
    ) -> None:
        """An agent has dealt with events, or could not."""
        place = self._of(session, agent).get(pattern)
        if isinstance(place, Follower):
            for sequence in sequences:
                place.acknowledge(sequence)
        elif place is not None:
            for sequence in sequences:
                place.acknowledge(sequence, failed=failed)

    def _of(self, session: Session, agent: str) -> dict[str, Follower | Member]:
        return session.feed.places.get(agent, {}) if session.feed is not None else {}

    def _leave(self, session: Session, agent: str, pattern: str) -> None:
        assert session.feed is not None
        self.subscriptions -= 1
        session.feed.count -= 1
        places = session.feed.places[agent]
        places.pop(pattern).leave()
        if not places:
            del session.feed.places[agent]

    # --- where they begin -------------------------------------------------------------------------

    def _follow(self, feed: Feed, tenant: str, agent: str, wish: Wish) -> Ring:
        follower = Follower(feed, agent, wish.window)
        feed.places.setdefault(agent, {})[wish.pattern] = follower
        live = self.rings.get((tenant, wish.pattern))
        if live is None:
            live = self.rings[tenant, wish.pattern] = Ring(tenant, wish.pattern)
            self._open(live)
        if wish.from_sequence is None and wish.since_ms is None:
            follower.after = live.last
            follower.follow(live, live.next)
            return live
        if wish.from_sequence is not None:
            follower.after = wish.from_sequence - 1
            if live.has_all_from(wish.from_sequence):
                follower.follow(live, live.place_after(follower.after))
                return live
        ring = self._catch_up(live, wish)
        follower.follow(ring, ring.base)
        return ring

    def _catch_up(self, live: Ring, wish: Wish) -> Ring:
        """A ring for those that begin there. Numbers share one that has not begun yet."""
        key = (live.tenant, live.pattern, wish.since_ms)
        ring = self._beginning.get(key)
        if ring is None or ring.has_begun:
            ring = self._beginning[key] = Ring(live.tenant, live.pattern, live)
            self._behind[ring] = None
            ring.since_ms = wish.since_ms
            ring.from_sequence = wish.from_sequence
            self._open(ring)
        elif wish.from_sequence is not None:
            assert ring.from_sequence is not None
            ring.from_sequence = min(ring.from_sequence, wish.from_sequence)
        return ring

    def _join(self, feed: Feed, tenant: str, agent: str, wish: Wish) -> Group:
        assert wish.group is not None
        member = Member(feed, agent, wish.window)
        feed.places.setdefault(agent, {})[wish.pattern] = member
        key = (tenant, wish.pattern, wish.group)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(tenant, wish.pattern, wish.group)
            group.since_ms, group.from_sequence = wish.since_ms, wish.from_sequence
            self._open(group)
        group.join(member)
        return group

    def _open(self, source: Source) -> None:
        if isinstance(source, Group) or source.live is None:
            self._patterns[source.tenant] = self._patterns.get(source.tenant, 0) + 1
        self.opened.append(source)

    # --- the shell's side -------------------------------------------------------------------------

    def caught_up(self, ring: Ring) -> None:
        """Everything has come that was there when it was opened."""
        ring.at_end = True
        for follower in list(ring.followers):
            follower.move_on()

    def deserted(self, now: float) -> list[Source]:
        """What nobody has wanted for a while. Forgets it; the shell closes it."""
        for ring in self.rings.values():
            ring.trim()
        sources: list[Source] = [*self.rings.values(), *self.groups.values()]
        sources += self._behind
        gone = []
        for source in sources:
            if source.members if isinstance(source, Group) else source.followers:
                source.deserted_at = None
                continue
            if source.deserted_at is None:
                source.deserted_at = now
            catches_up = isinstance(source, Ring) and source.live is not None
            if catches_up or now - source.deserted_at >= limits.EVENT_LINGER_SECONDS:
                gone.append(source)
        # Where somebody may go is kept.
        kept = {each.live for each in self._behind if each not in gone}
        gone = [each for each in gone if each not in kept]
        for source in gone:
            self._forget(source)
        return gone

    def _forget(self, source: Source) -> None:
        if isinstance(source, Ring) and source.live is not None:
            del self._behind[source]
            key = (source.tenant, source.pattern, source.since_ms)
            if self._beginning.get(key) is source:
                del self._beginning[key]
            return
        self._patterns[source.tenant] -= 1
        if not self._patterns[source.tenant]:
            del self._patterns[source.tenant]
        if isinstance(source, Group):
            del self.groups[source.tenant, source.pattern, source.name]
        else:
            del self.rings[source.tenant, source.pattern]


def _group_of(place: Follower | Member) -> str | None:
    return place.group.name if isinstance(place, Member) else None
