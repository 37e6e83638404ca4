"""What a continuous agent has in mind: its state, what happened last, and which events it has had.

It is kept as one value, so state and the event that changed it are written together or not at all:
an event that comes again after a crash either is in it, and is passed over, or has left no trace.
Pure.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

from muster.agent.failures import Failed
from muster.agent.text import cut
from muster.agent.topics.event import Event
from muster.model import limits
from muster.wire.jsontext import json_text, json_value

FORMAT = 1
_DIGEST_CHARS = 16  # 64 bits: of 512, two are alike once in 10^14 events


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept."""

    history: int = limits.MIND_HISTORY_DEFAULT  # entries
    remembered: int = limits.MIND_EVENTS_REMEMBERED  # events that are known when they come again
    size_bytes: int = limits.AGENT_STATE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened. `time` is in Unix seconds."""

    time: float
    topic: str
    text: str


class Mind:
    """What the agent knows. `state` is a dict of values of JSON, to be changed in place."""

    def __init__(self, state: dict[str, Any] | None = None, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.state: dict[str, Any] = {} if state is None else state
        self.events = 0  # that it has had, those that it could not deal with included
        self.failed = 0  # that it could not deal with
        self._history: deque[Entry] = deque(maxlen=self.bounds.history)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._noted: list[str] = []

    @property
    def history(self) -> list[Entry]:
        """The last things that happened, oldest first."""
        return list(self._history)

    def note(self, text: str) -> None:
        """Says what is to be found in the history about this event; by default nothing is. Cut off
        after a KiB."""
        self._noted.append(cut(text, limits.MIND_NOTE_BYTES_MAX))

    def knows(self, event: Event) -> bool:
        """Whether it has had the event."""
        return digest(event) in self._known

    def take(self, event: Event, now: float) -> None:
        """It has had the event: what was noted goes into the history."""
        self._remember(event)
        topic = event.topic or event.subject
        self._history.extend(Entry(now, topic, text) for text in self._noted)
        self._noted.clear()

    def pass_over(self, event: Event, now: float, why: str) -> None:
        """It could not deal with the event, and will not be asked again."""
        self.failed += 1
        self.note(f"failed: {why}")
        self.take(event, now)

    def _remember(self, event: Event) -> None:
        self.events += 1
        self._known[digest(event)] = None
        while len(self._known) > self.bounds.remembered:
            self._known.popitem(last=False)

    # --- as it is kept ----------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """The value to be kept, with as much of the history as there is room for.

        Raises `Failed` with STATE_TOO_LARGE, and `ValueError` for what is no JSON.
        """
        value: dict[str, Any] = {
            "format": FORMAT,
            "state": self.state,
            "events": self.events,
            "failed": self.failed,
            "known": list(self._known),
            "history": [],
        }
        room = self.bounds.size_bytes - len(json_text(value).encode())
        if room < 0:
            most, size = self.bounds.size_bytes, self.bounds.size_bytes - room
            message = (
                f"it would be {size} bytes, and {most} may be kept: keep large things as blobs"
            )
            raise Failed("STATE_TOO_LARGE", message, permanent=True)
        entries: list[list[Any]] = []
        for entry in reversed(self._history):
            written = [entry.time, entry.topic, entry.text]
            room -= len(json_text(written).encode()) + 1
            if room < 0:
                break
            entries.append(written)
        value["history"] = entries[::-1]
        return value

    @classmethod
    def of(cls, value: Any, bounds: Bounds | None = None) -> Mind:
        """The mind that was kept. Raises `Failed` with STATE_UNREADABLE for anything else."""
        try:
            if value["format"] != FORMAT:
                raise ValueError(value["format"])
            mind = cls(value["state"], bounds)
            mind.events, mind.failed = int(value["events"]), int(value["failed"])
            mind._known.update(dict.fromkeys(value["known"][-mind.bounds.remembered :]))
            mind._history.extend(Entry(*written) for written in value["history"])
        except (KeyError, TypeError, ValueError):
            message = (
                "what is kept there is not a continuous agent's: delete it, or choose another name"
            )
            raise Failed("STATE_UNREADABLE", message, permanent=True) from None
        return mind

    def copy(self) -> Mind:
        """Another one, so that what changes it and fails leaves no trace."""
        return Mind.of(json_value(json_text(self.kept())), self.bounds)


def id_for(event: Event, part: str = "") -> str:
    """An id for what follows from an event, the same when it comes again: for `ctx.publish` and
    requests. `part` tells several of one event from each other."""
    return f"{digest(event)}.{part}" if part else digest(event)


def digest(event: Event) -> str:
    """What tells an event from all others: CloudEvents' source and id, in short."""
    text = f"{event.source}\n{event.id}"
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]
