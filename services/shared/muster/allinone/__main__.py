"""Runs the whole mesh in one process: `python -m muster.allinone`.

The services meet as they would over gRPC, through the same streaming calls, but the messages are
handed over and not serialized.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from muster.executor.core_state import Timers
from muster.executor.service import Executor, Settings
from muster.executor.servicer_part import executor_part
from muster.registry.part import Registry
from muster.runtime.config import Config, Role
from muster.runtime.entry import run_process
from muster.runtime.network import join_address
from muster.runtime.serve import Part, Readiness
from muster.scheduler.__main__ import scheduler_of
from muster.scheduler.part import SchedulerPart
from muster.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server


def build(config: Config) -> Sequence[Part]:
    """The parts, in the order in which they start: each finds what it needs already there."""
    scheduler = scheduler_of(config)
    registry = Registry(config.timers.sweep_seconds)
    return [
        scheduler.part,
        _registry_part(registry, scheduler),
        _executor_part(config, scheduler, registry),
    ]


def _registry_part(registry: Registry, scheduler: SchedulerPart) -> Part:
    @asynccontextmanager
    async def run(_readiness: Readiness) -> AsyncIterator[None]:
        async with registry.running([scheduler.catalogue.watch]):
            yield

    return Part(
        name="registry",
        services={
            "muster.v1.RegistryService": partial(
                add_RegistryServiceServicer_to_server, registry.servicer
            )
        },
        run=run,
        metrics=[registry.metrics],
        reflection=[registry.types],
    )


def _executor_part(config: Config, scheduler: SchedulerPart, registry: Registry) -> Part:
    settings = Settings(
        name=config.name,
        address=join_address(config.listen.host, config.listen.grpc_port),
        timers=Timers(
            heartbeat_seconds=config.timers.heartbeat_seconds,
            lease_periods=config.timers.lease_periods,
            accept_seconds=config.timers.accept_seconds,
            resume_grace_seconds=config.timers.resume_grace_seconds,
        ),
        sweep_seconds=config.timers.sweep_seconds,
    )
    links = {"local": scheduler.links.link}
    presences = {"local": registry.streams.report_presence}
    return executor_part(Executor(settings, links, presences))


if __name__ == "__main__":
    sys.exit(run_process(Role.ALL, build))
