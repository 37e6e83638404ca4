"""Follows the schedulers' catalogue, so that the registry can answer for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from muster.model.errors import MusterError
from muster.registry.core_catalogue import Catalogue, Entry
from muster.registry.servicer_messages import body_of_entry, entries_of_frame
from muster.runtime.descriptor_pools import make_pool
from muster.runtime.logs import get_logger
from muster.v1.catalogue_service_pb2 import WatchCatalogueRequest, WatchCatalogueResponse
from muster.v1.catalogue_service_pb2_grpc import CatalogueServiceStub
from muster.wire.channel import RECONNECT_MAX_MS, RECONNECT_MIN_MS, open_channel
from muster.wire.errors import error_of_rpc
from muster.wire.security import NO_TLS, Security

# The shape of CatalogueService.WatchCatalogue, over gRPC or in one process.
WatchCatalogue = Callable[[WatchCatalogueRequest], AsyncIterable[WatchCatalogueResponse]]

_log = get_logger("muster.registry")


def dial_catalogue(target: str, security: Security = NO_TLS) -> WatchCatalogue:
    """`CatalogueService.WatchCatalogue` of the scheduler at `target`; a channel for each call."""

    async def watch(request: WatchCatalogueRequest) -> AsyncIterator[WatchCatalogueResponse]:
        async with open_channel(target, security) as channel:
            call = CatalogueServiceStub(channel).WatchCatalogue(request)
            try:
                async for response in call:
                    yield response
            finally:
                call.cancel()

    return watch


class CatalogueSources:
    """The schedulers whose catalogue can be followed: those that were configured, then found."""

    def __init__(
        self,
        configured: Sequence[WatchCatalogue],
        dial: Callable[[str], WatchCatalogue] | None = None,
    ) -> None:
        self._configured = tuple(configured)
        self._dial = dial
        self._found: tuple[WatchCatalogue, ...] = ()
        self._changed = asyncio.Event()
        self._turn = 0

    def found(self, targets: Mapping[str, str]) -> None:
        """The schedulers that a directory names: name -> target."""
        if self._dial is not None:
            self._found = tuple(self._dial(target) for target in targets.values())
            self._changed.set()

    async def next(self) -> WatchCatalogue:
        """One of them, each in turn; waits while there is none."""
        while not (watches := self._configured + self._found):
            self._changed.clear()
            await self._changed.wait()
        self._turn += 1
        return watches[self._turn % len(watches)]


async def follow_catalogue(catalogue: Catalogue, sources: CatalogueSources) -> None:
    """Keeps `catalogue` current, without end: with one scheduler, after a failure with the next.

    Any scheduler will do, as they share the ledger.
    """
    failures = 0
    while True:
        watch = await sources.next()
        try:
            # From the beginning each time: every scheduler numbers the entries for itself.
            async for frame in watch(WatchCatalogueRequest()):
                failures = 0
                for tenant, entry in entries_of_frame(frame):
                    catalogue.add(tenant, entry)
                if frame.caught_up:
                    catalogue.is_complete = True
        except (grpc.RpcError, MusterError) as error:
            known = error_of_rpc(error) if isinstance(error, grpc.RpcError) else error
            if not failures:
                _log.warning("the catalogue cannot be followed now", why=known.message)
        failures += 1
        longest = min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** min(failures, 10))
        await asyncio.sleep(random.uniform(0, longest) / 1000)


class CapabilityTypes:
    """The message types of registered capabilities, for reflection. See `ReflectionSource`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        # tenant -> (entries of the catalogue then, pools); made when somebody asks.
        self._pools: dict[str, tuple[int, list[DescriptorPool]]] = {}

    def pools(self, tenant: str) -> Iterable[DescriptorPool]:
        """A pool for each type, of the newest version of each major version."""
        entries = self._catalogue.size(tenant)
        if not entries:
            return ()
        made = self._pools.get(tenant)
        if made is None or made[0] != entries:
            made = self._pools[tenant] = (entries, self._make(tenant))
        return made[1]

    def _make(self, tenant: str) -> list[DescriptorPool]:
        newest: dict[tuple[str, int], Entry] = {}
        for entry in self._catalogue.after(tenant, "", None):
            newest[entry.name.capability, entry.name.version.major] = entry
        pools: list[DescriptorPool] = []
        for entry in reversed(newest.values()):
            capability = body_of_entry(entry).capability
            for schema in (capability.input, capability.output):
                if schema.HasField("message"):
                    # What cannot be used was refused when it was registered.
                    with suppress(MusterError):
                        message = schema.message
                        pools.append(make_pool(message.full_name, message.file_descriptor_set))
        return pools
