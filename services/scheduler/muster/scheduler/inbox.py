"""The inbox: committed questions that wait for a person, and who watches them."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from muster.model import limits
from muster.model.errors import MusterError, ResourceExhausted
from muster.model.ids import shard_of_id
from muster.v1.question_pb2 import Answer, Question

Key = tuple[int, str]  # subject, question
Place = tuple[int, int, str]  # when it was asked (Unix ms), subject, question: the order of pages


@dataclass(frozen=True, slots=True)
class Entry:
    """A question that waits, and who asks it."""

    subject_id: int
    tenant: str
    question: Question
    asked_ms: int
    deadline_ms: int  # Unix milliseconds; 0: none
    capability: str = ""  # of a contract
    agent: str = ""
    workflow: str = ""  # of a run
    step: str = ""

    @property
    def key(self) -> Key:
        """What names it."""
        return self.subject_id, self.question.id

    @property
    def place(self) -> Place:
        """Where it stands among the others."""
        return self.asked_ms, self.subject_id, self.question.id

    @property
    def is_of_run(self) -> bool:
        """Whether a gate asks, and not an agent."""
        return not self.capability


Change = Entry | Answer | None  # asked; answered; closed without an answer


class InboxWatcher:
    """What one watch call has not been told yet: of each question the last that happened."""

    def __init__(self, tenant: str, subject_id: int) -> None:
        self.tenant = tenant
        self.subject_id = subject_id  # 0: all
        self._changes: dict[Key, Change] = {}
        self._error: MusterError | None = None
        self._something = asyncio.Event()

    def put(self, key: Key, change: Change) -> None:
        """Something happened to a question."""
        if self.subject_id not in (0, key[0]) or self._error is not None:
            return
        self._changes[key] = change
        if len(self._changes) > limits.INBOX_BACKLOG_MAX:
            text = "the watcher was too slow; watch again"
            self.fail(ResourceExhausted(text, reason="WATCHER_TOO_SLOW"))
        self._something.set()

    def fail(self, error: MusterError) -> None:
        """Whoever watches gets this error."""
        self._error = error
        self._something.set()

    async def take(self) -> dict[Key, Change]:
        """Waits for changes, and takes them out. Raises what it failed with."""
        await self._something.wait()
        self._something.clear()
        if self._error is not None:
            raise self._error
        changes, self._changes = self._changes, {}
        return changes


class Inbox:
    """Committed questions that are open, of every tenant."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._of_subject: dict[int, dict[Key, Entry]] = {}
        self._places: dict[str, list[Place]] = {}  # by tenant, sorted
        self._watchers: set[InboxWatcher] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """A question waits."""
        self._entries[entry.key] = entry
        self._of_subject.setdefault(entry.subject_id, {})[entry.key] = entry
        insort(self._places.setdefault(entry.tenant, []), entry.place)
        self._tell(entry.tenant, entry.key, entry)

    def close(self, key: Key, answer: Answer | None) -> None:
        """A question waits no more."""
        entry = self._remove(key)
        if entry is not None:
            self._tell(entry.tenant, key, answer)

    def _remove(self, key: Key) -> Entry | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            of_subject = self._of_subject[entry.subject_id]
            del of_subject[key]
            if not of_subject:
                del self._of_subject[entry.subject_id]
            places = self._places[entry.tenant]
            del places[bisect_left(places, entry.place)]
            if not places:
                del self._places[entry.tenant]
        return entry

    def disown(self, shards: Collection[int]) -> None:
        """The questions of these shards are somebody else's now."""
        for key in [key for key in self._entries if shard_of_id(key[0]) in shards]:
            self._remove(key)

    def after(self, tenant: str, place: Place | None, subject_id: int = 0) -> Iterator[Entry]:
        """A tenant's questions after a place, oldest first; with `subject_id`, what this one asks.
        Nothing may change meanwhile."""
        if subject_id:
            found = self._of_subject.get(subject_id, {}).values()
            places = sorted(each.place for each in found if each.tenant == tenant)
        else:
            places = self._places.get(tenant, [])
        start = bisect_right(places, place) if place is not None else 0
        for at in range(start, len(places)):
            yield self._entries[places[at][1:]]

    # --- watchers ---------------------------------------------------------------------------------

    def watch(self, watcher: InboxWatcher) -> None:
        """Tell a watcher of what waits, and of every change from now on."""
        if len(self._watchers) >= limits.WATCHERS_MAX:
            raise ResourceExhausted(
                f"{limits.WATCHERS_MAX} watches are open; try again later",
                retry_after_seconds=limits.QUEUE_FULL_RETRY_SECONDS,
            )
        self._watchers.add(watcher)

    def unwatch(self, watcher: InboxWatcher) -> None:
        """Tell it nothing more."""
        self._watchers.discard(watcher)

    def moved(self, error: MusterError) -> None:
        """Other shards are owned than before: whoever watches is to ask again."""
        for watcher in self._watchers:
            watcher.fail(error)

    def _tell(self, tenant: str, key: Key, change: Change) -> None:
        for watcher in self._watchers:
            if watcher.tenant == tenant:
                watcher.put(key, change)
