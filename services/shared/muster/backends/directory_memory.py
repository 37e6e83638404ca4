"""The embedded directory: entries in memory, for whatever runs in the same process.

There is nobody to probe: an entry with a `Probe` stays as it was put, for it goes when its process
does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Self

from muster.backends.directory_base import DirectoryError
from muster.model.directory import Change, Entry, Found, Put, Remove, State, TimeToLive


class MemoryDirectory:
    """See `Directory`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._expires: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._wake()

    async def apply(self, changes: Sequence[Change]) -> None:
        try:
            for change in changes:
                self._apply(change)
        finally:
            self._wake()

    def _apply(self, change: Change) -> None:
        if isinstance(change, Remove):
            self._entries.pop(change.id, None)
            self._expires.pop(change.id, None)
            return
        entry = change.entry
        known = self._entries.get(entry.id)
        if isinstance(change, Put):
            self._entries[entry.id] = entry
        elif known is None:
            raise DirectoryError(f"{entry.id} is not there")
        else:
            self._entries[entry.id] = replace(known, state=entry.state)
        self._expires.pop(entry.id, None)
        if isinstance(entry.check, TimeToLive):
            self._expires[entry.id] = self._clock() + entry.check.seconds

    async def read(self, owner: str) -> Mapping[str, str]:
        return {each.id: each.digest for each in self._entries.values() if each.owner == owner}

    async def watch(self, kind: str) -> AsyncGenerator[Sequence[Found], None]:
        told: Sequence[Found] | None = None
        while True:
            changed = self._changed
            level = self._level(kind)
            if level != told:
                told = level
                yield level
            with suppress(TimeoutError):
                async with asyncio.timeout(self._next_expiry(kind)):
                    await changed.wait()

    def _level(self, kind: str) -> Sequence[Found]:
        now = self._clock()
        return [
            _found(entry, State.CRITICAL if self._expires.get(at, now + 1) <= now else entry.state)
            for at, entry in sorted(self._entries.items())
            if entry.kind == kind
        ]

    def _next_expiry(self, kind: str) -> float | None:
        """Seconds until the next entry of the kind expires, if one may."""
        now = self._clock()
        times = [
            at
            for entry_id, at in self._expires.items()
            if at > now and self._entries[entry_id].kind == kind
        ]
        return min(times) - now if times else None

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _found(entry: Entry, state: State) -> Found:
    return Found(entry.id, entry.kind, entry.owner, entry.address, entry.meta, state)
