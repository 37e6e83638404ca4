"""Runs a registry as a process of its own: `python -m muster.registry`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from muster.registry.part import Registry
from muster.runtime.config import Config, Role
from muster.runtime.entry import run_process
from muster.runtime.serve import Part, Readiness
from muster.v1.catalogue_service_pb2_grpc import CatalogueServiceStub
from muster.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from muster.wire.channel import open_channel

SERVICE = "muster.v1.RegistryService"


def build(config: Config) -> Sequence[Part]:
    """The registry, following the catalogue of the configured schedulers."""
    registry = Registry(config.timers.sweep_seconds)

    @asynccontextmanager
    async def run(_readiness: Readiness) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(open_channel(target))
                for target in config.scheduler_targets
            ]
            watches = [CatalogueServiceStub(channel).WatchCatalogue for channel in channels]
            await stack.enter_async_context(registry.running(watches))
            yield

    return [
        Part(
            name="registry",
            services={SERVICE: partial(add_RegistryServiceServicer_to_server, registry.servicer)},
            run=run,
            metrics=[registry.metrics],
            reflection=[registry.types],
        )
    ]


if __name__ == "__main__":
    sys.exit(run_process(Role.REGISTRY, build))
