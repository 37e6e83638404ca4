"""Keeps entries in a directory: puts them there, renews them, and puts them again when they are
gone. Nothing waits for it, and it never gives up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from muster.backends.directory_base import Directory, DirectoryError
from muster.model import limits
from muster.model.directory import Entry, Upkeep
from muster.runtime.logs import get_logger

_SETTLE_SECONDS = 0.2  # from a change that is wanted to the next step: changes come in numbers
_log = get_logger("muster.directory")


class Keeper:
    """Keeps what `owner` wants to be in the directory. `run` it until it is cancelled."""

    def __init__(
        self,
        directory: Directory,
        owner: str,
        adopt_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._owner = owner
        self._clock = clock
        self.upkeep = Upkeep(clock() + adopt_seconds)
        self._changed = asyncio.Event()
        self._read_at = clock()
        self._leaving = False
        self._left = asyncio.Event()
        self._well: bool | None = None  # None: it has not been tried

    def want(self, entries: Iterable[Entry]) -> None:
        """These should be there, whatever else is."""
        for entry in entries:
            self.upkeep.want(entry)
        self._changed.set()

    def remark(self, kind: str, key: str, value: str) -> None:
        """Adds to what is told of the entry that this process has as a service of a kind."""
        for entry in self.upkeep.wanted(kind):
            self.upkeep.want(replace(entry, meta={**entry.meta, key: value}))
        self._changed.set()

    @property
    def well(self) -> bool:
        """Whether the directory answered when it was last asked."""
        return self._well is True

    def wake(self) -> None:
        """Something was changed in `upkeep`."""
        self._changed.set()

    def leave(self) -> None:
        """Takes everything out, as soon as possible; `left` waits for it."""
        self.upkeep.leave()
        self._leaving = True
        self._changed.set()

    async def left(self) -> None:
        """Returns when everything is out, or cannot be taken out in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.DIRECTORY_LEAVE_SECONDS):
                await self._left.wait()

    async def run(self) -> None:
        """Compares and mends, without end."""
        while True:
            try:
                pause = await self._step()
            except DirectoryError as error:
                self._fail(error)
                # Who cannot be reached cannot be asked to forget us either.
                pause = random.uniform(0.5, 1.0) * limits.DIRECTORY_READ_SECONDS
                if self._leaving:
                    self._left.set()
            if pause:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                        await asyncio.sleep(0 if self._leaving else _SETTLE_SECONDS)
                self._changed.clear()

    async def _step(self) -> float:
        """Makes the changes that are due; returns how long to wait for the next ones."""
        upkeep = self.upkeep
        if not upkeep.is_read or self._clock() >= self._read_at:
            upkeep.read(await self._directory.read(self._owner))
            self._read_at = self._clock() + limits.DIRECTORY_READ_SECONDS
            self._succeed()
        changes = upkeep.due(self._clock(), limits.DIRECTORY_CHANGES_AT_ONCE)
        if changes:
            await self._directory.apply(changes)
            upkeep.done(changes, self._clock())
            return 0
        if self._leaving:
            self._left.set()
        # Renewals are spread over time; in between it is enough to look once a second.
        return min(1.0, max(0.0, self._read_at - self._clock()))

    def _succeed(self) -> None:
        if self._well is not True:
            _log.info("registered in the directory" if self._well is None else "it answers again")
        self._well = True

    def _fail(self, error: DirectoryError) -> None:
        self.upkeep.lost()
        if self._well is not False:
            _log.warning(
                "the directory cannot be used now; everything but discovery goes on without it",
                why=str(error),
            )
        self._well = False
