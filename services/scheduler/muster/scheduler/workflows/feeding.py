"""Feeds runs to the workers of an outside engine: Temporal.

The engine runs the same interpreter on the same entries. It has them in two ways: in the answers
to what its interpreters ask for, and from here, where every committed entry is told to the worker
that follows the run, who signals it. Whatever is told twice is dropped by its number, and whatever
was not told is loaded; so nothing here is kept beyond the process.

What an answer held is taken as delivered, for the engine repeats a call until it has the answer.
That is so but for a worker that stood still while another one took its place, so after a while it
is said once more, unless a signal has said it meanwhile.

Nothing here waits or reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from muster.model import limits
from muster.scheduler.workflows.run import Run
from muster.v1.engine_pb2 import RunEntries
from muster.v1.engine_service_pb2 import RunFeed
from muster.v1.workflow_run_pb2 import RunEvent


class Feed:
    """What is told of one run."""

    __slots__ = (
        "answered",
        "answered_at",
        "calls",
        "delivered",
        "entries",
        "follower",
        "over",
        "run",
        "sent",
        "sequence",
    )

    def __init__(self, run: Run) -> None:
        self.run = run
        self.follower: Follower | None = None
        self.sequence = 0  # of the newest committed entry
        self.entries: deque[RunEvent] = deque()  # the newest ones, bare
        self.sent = 0  # up to where its follower was told
        self.delivered = 0  # up to where signals have said it
        self.answered = 0  # up to where answers have
        self.answered_at = 0.0  # monotonic seconds
        self.calls = 0  # that are being answered
        self.over = False

    @property
    def known(self) -> int:
        """Up to where the engine knows the journal."""
        return max(self.delivered, self.answered)

    def add(self, event: RunEvent) -> None:
        """A committed entry."""
        self.sequence = event.sequence
        self.over = event.HasField("ended")
        self.entries.append(event)
        if len(self.entries) > limits.FEED_ENTRIES_MAX:
            self.entries.popleft()  # it will be loaded

    def after(self, sequence: int) -> list[RunEvent] | None:
        """The entries after one; None where they are not all here."""
        if sequence >= self.sequence:
            return []
        if not self.entries or self.entries[0].sequence > sequence + 1:
            return None
        return [event for event in self.entries if event.sequence > sequence]

    def message(self) -> RunFeed:
        """What its follower does not know yet."""
        known = max(self.sent, self.known)
        fresh = [event for event in self.entries if event.sequence > known]
        self.sent = self.sequence
        self.trim()
        entries = RunEntries(run_id=self.run.name, sequence=self.sequence, entries=fresh)
        return RunFeed(entries=entries, delivered=self.known, over=self.over)

    def trim(self) -> None:
        """Keep of what was told no more than answers may want."""
        told = max(self.sent, self.known)
        while len(self.entries) > limits.FEED_ENTRIES_KEPT and self.entries[0].sequence <= told:
            self.entries.popleft()


class Follower:
    """One worker's stream."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.feeds: dict[int, Feed] = {}
        self.closed = False
        self._news: dict[int, Feed | None] = {}  # None: it is told no more of this run

    def put(self, feed: Feed) -> None:
        """There is something new about a run."""
        self._news[feed.run.id] = feed

    def drop(self, feed: Feed) -> None:
        """Tell it no more of a run."""
        if self.feeds.pop(feed.run.id, None) is not None:
            self._news[feed.run.id] = None

    def frame(self) -> list[RunFeed]:
        """The news, as many as make a frame."""
        found: list[RunFeed] = []
        size = 0
        while self._news and size < limits.FEED_FRAME_BYTES_MAX:
            number, feed = next(iter(self._news.items()))
            del self._news[number]
            if feed is None:
                message = RunFeed(gone=True)
                message.entries.run_id = f"{number:016x}"
            else:
                message = feed.message()
            size += message.ByteSize()
            found.append(message)
        return found


class Feeds:
    """Every run that an outside engine has, and who follows them."""

    def __init__(self) -> None:
        self.followers: dict[str, Follower] = {}
        self._feeds: dict[int, Feed] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    def get(self, run_id: int) -> Feed | None:
        """What is told of a run."""
        return self._feeds.get(run_id)

    # --- runs -------------------------------------------------------------------------------------

    def hold(self, run: Run, now: float) -> Feed:
        """A run that goes on, also when it had ended before."""
        feed = self._feeds.get(run.id)
        if feed is None:
            feed = self._feeds[run.id] = Feed(run)
            parent = self._feeds.get(run.row.parent_id)
            if parent is not None and parent.calls:
                # The answer names it, and its parent's interpreter starts its own.
                feed.answered, feed.answered_at = 1, now
            self._assign(feed)
        feed.run, feed.over = run, False
        return feed

    def restored(self, run: Run, now: float) -> None:
        """A run from the ledger, of which nobody knows how far the engine is."""
        feed = self.hold(run, now)
        feed.sequence = run.machine.sequence
        self._notice(feed)

    def committed(self, run_id: int, event: RunEvent) -> None:
        """A run's next entry, bare."""
        feed = self._feeds.get(run_id)
        if feed is not None:
            feed.add(event)
            self._notice(feed)

    def moved(self, run_id: int) -> None:
        """A run is another scheduler's."""
        feed = self._feeds.pop(run_id, None)
        if feed is not None and feed.follower is not None:
            feed.follower.drop(feed)

    # --- what is known ----------------------------------------------------------------------------

    @contextmanager
    def calling(self, run_id: int) -> Iterator[None]:
        """While an answer is being made: it will hold what is committed meanwhile."""
        feed = self._feeds.get(run_id)
        if feed is None:
            yield
            return
        feed.calls += 1
        try:
            yield
        finally:
            feed.calls -= 1
            self._notice(feed)

    def answered(self, run_id: int, sequence: int, now: float) -> None:
        """An answer holds a run's entries up to this one."""
        feed = self._feeds.get(run_id)
        if feed is not None and sequence > feed.answered:
            feed.answered, feed.answered_at = sequence, now
            self._known(feed)

    def delivered(self, follower: Follower, run_id: int, sequence: int) -> None:
        """A worker has said a run's entries up to this one."""
        feed = self._feeds.get(run_id)
        if feed is not None and feed.follower is follower:
            feed.delivered = max(feed.delivered, sequence)
            self._known(feed)

    def sweep(self, now: float) -> None:
        """Say once more what only answers have said."""
        for feed in list(self._feeds.values()):
            unsure = feed.answered > feed.delivered and not feed.calls
            if unsure and now - feed.answered_at > limits.FEED_UNSURE_SECONDS:
                feed.answered = feed.delivered
                self._notice(feed)

    def _known(self, feed: Feed) -> None:
        feed.trim()
        if feed.over and feed.known >= feed.sequence:
            del self._feeds[feed.run.id]
            if feed.follower is not None:
                feed.follower.drop(feed)

    def _notice(self, feed: Feed) -> None:
        behind = feed.known < feed.sequence
        if behind and feed.follower is not None and not feed.calls:
            feed.follower.put(feed)

    # --- followers --------------------------------------------------------------------------------

    def follow(self, name: str) -> Follower:
        """Another worker; one of the same name is followed by none any more."""
        old = self.followers.get(name)
        if old is not None:
            self.unfollow(old)
        follower = self.followers[name] = Follower(name)
        if len(self.followers) == 1:
            for feed in self._feeds.values():
                self._assign(feed)
        return follower

    def unfollow(self, follower: Follower) -> None:
        """A worker is gone: others follow its runs."""
        follower.closed = True
        if self.followers.get(follower.name) is follower:
            del self.followers[follower.name]
        orphans, follower.feeds = list(follower.feeds.values()), {}
        for feed in orphans:
            feed.follower, feed.sent = None, feed.delivered
            self._assign(feed)

    def _assign(self, feed: Feed) -> None:
        if self.followers:
            follower = min(self.followers.values(), key=_load)
            feed.follower = follower
            follower.feeds[feed.run.id] = feed
            follower.put(feed)  # also when there is no news: it looks whether the run is there


def _load(follower: Follower) -> int:
    return len(follower.feeds)
