"""The instants of a schedule, and by how much each is late on purpose. Unix milliseconds.

Instants follow from what somebody wants alone, never from when they were asked for: whoever goes on
after any instant finds the same ones, after a restart and on another machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

_HASH_BITS = 64


class Times(Protocol):
    """Instants without end, or with one."""

    def after(self, ms: int) -> Iterator[int]:
        """All instants after `ms`, each larger than the one before."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """An anchor and all that lies whole distances behind it. Nothing adds up: a late tick does not
    make the next one late."""

    anchor_ms: int
    every_ms: int

    def after(self, ms: int) -> Iterator[int]:
        """See `Times.after`."""
        number = max(0, (ms - self.anchor_ms) // self.every_ms + 1)
        while True:
            yield self.anchor_ms + number * self.every_ms
            number += 1


@dataclass(frozen=True, slots=True)
class Once:
    """One instant."""

    at_ms: int

    def after(self, ms: int) -> Iterator[int]:
        """See `Times.after`."""
        if self.at_ms > ms:
            yield self.at_ms


class Due(NamedTuple):
    """An instant, by which a tick is known, and when it is to be started."""

    tick_ms: int
    fire_ms: int


@dataclass(frozen=True, slots=True)
class Bounded:
    """Instants within bounds, with jitter."""

    times: Times
    seed: str  # what makes this schedule's jitter unlike another's
    jitter_ms: int = 0
    start_ms: int = 0  # none before it
    end_ms: int = 0  # none after it; 0: no end

    def after(self, ms: int) -> Iterator[Due]:
        """What is due for instants after `ms`. It is in order of `fire_ms`, too: jitter never
        reaches the next instant."""
        instants = self.times.after(max(ms, self.start_ms - 1))
        here = next(instants, None)
        while here is not None and not 0 < self.end_ms < here:
            following = next(instants, None)
            room = self.jitter_ms
            if following is not None:
                room = min(room, following - here)
            yield Due(here, here + (self._draw(here) * room >> _HASH_BITS))
            here = following

    def _draw(self, tick_ms: int) -> int:
        """A number below 2^64 that this tick always draws."""
        drawn = hashlib.blake2b(f"{self.seed}\0{tick_ms}".encode(), digest_size=_HASH_BITS // 8)
        return int.from_bytes(drawn.digest())
