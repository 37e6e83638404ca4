"""Runs a registry as a process of its own: `python -m muster.registry`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from muster.registry.part import Registry
from muster.runtime.config import Config, Role
from muster.runtime.entry import run_process
from muster.runtime.serve import Part
from muster.v1.catalogue_service_pb2 import WatchCatalogueRequest, WatchCatalogueResponse
from muster.v1.catalogue_service_pb2_grpc import CatalogueServiceStub
from muster.wire.channel import Channels


def _watch(
    channels: Channels, target: str, request: WatchCatalogueRequest
) -> AsyncIterable[WatchCatalogueResponse]:
    # Asks for the channel at each call, because certificates may be others by then.
    return CatalogueServiceStub(channels.to(target)).WatchCatalogue(request)


def build(config: Config) -> Sequence[Part]:
    """The registry, following the catalogue of the configured schedulers."""
    registry = Registry(config.timers.sweep_seconds)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            channels = Channels(config.tls.security)
            stack.push_async_callback(channels.close)
            watches = [partial(_watch, channels, target) for target in config.scheduler_targets]
            await stack.enter_async_context(registry.running(watches))
            yield

    return [registry.part(running)]


if __name__ == "__main__":
    sys.exit(run_process(Role.REGISTRY, build))
