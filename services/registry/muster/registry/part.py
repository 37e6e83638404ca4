"""Puts a registry together: presence, catalogue, servicer, and the loops that keep them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from muster.model import limits
from muster.registry.catalogue import (
    CapabilityTypes,
    CatalogueSources,
    WatchCatalogue,
    follow_catalogue,
)
from muster.registry.core import Presence
from muster.registry.core_catalogue import Catalogue
from muster.registry.enrolling import Enrolling
from muster.registry.metrics import registry_metrics
from muster.registry.servicer import SERVICE, RegistryServicer
from muster.registry.servicer_streams import Streams
from muster.runtime.lifetime import background
from muster.runtime.serve import Part

# A process makes far fewer than 1,000 changes in a ms, so a restart begins above all that it made.
_REVISIONS_PER_MS = 1000


class Registry:
    """One registry of a process."""

    def __init__(
        self,
        sweep_seconds: float = limits.SWEEP_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._sweep_seconds = sweep_seconds
        self._monotonic = monotonic
        self._presence = Presence(first_revision=int(wall() * 1000) * _REVISIONS_PER_MS)
        self._catalogue = Catalogue()
        self.streams = Streams(self._presence, monotonic)
        self.servicer = RegistryServicer(
            self._presence, self._catalogue, self.streams, monotonic, wall
        )
        self.types = CapabilityTypes(self._catalogue)
        self._metrics = registry_metrics(self._presence, self._catalogue, self.streams)

    @asynccontextmanager
    async def running(self, watches: Sequence[WatchCatalogue]) -> AsyncIterator[None]:
        """Sweeps, and follows the catalogue through `watches`, while the block runs."""
        async with self.running_on(CatalogueSources(watches)):
            yield

    @asynccontextmanager
    async def running_on(self, sources: CatalogueSources) -> AsyncIterator[None]:
        """The same with schedulers that come and go."""
        async with background(self._sweep, lambda: follow_catalogue(self._catalogue, sources)):
            yield

    def enrolling(self, name: str, agents_max: int) -> Enrolling:
        """What keeps its share of the agents in a directory, for a registry of that name."""
        return Enrolling(name, agents_max, self._presence)

    def part(self, running: Callable[[], AbstractAsyncContextManager[None]]) -> Part:
        """What `serve` needs; `running` is `self.running`, with what the process wires to it."""
        return Part(
            name="registry",
            services={SERVICE: self.servicer.add_to},
            run=lambda _readiness: running(),
            metrics=[self._metrics],
            reflection=[self.types],
        )

    async def _sweep(self) -> None:
        last = self._monotonic()
        while True:
            await asyncio.sleep(self._sweep_seconds)
            now = self._monotonic()
            if now - last > limits.STALL_SECONDS:
                self._presence.forgive(now - last)
            last = now
            self._presence.sweep(now)
            self.streams.wake()
