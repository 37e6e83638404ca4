"""Runs the whole mesh in one process: `python -m muster.allinone`.

The services meet as they would over gRPC, through the same streaming calls, but the messages are
handed over and not serialized.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from muster.executor.__main__ import settings_of
from muster.executor.service import Executor
from muster.executor.servicer_part import executor_part
from muster.registry.part import Registry
from muster.runtime.buses import bus_of
from muster.runtime.config import Config, Role
from muster.runtime.directories import directory_of, directory_part
from muster.runtime.entry import run_process
from muster.runtime.serve import Part
from muster.scheduler.__main__ import scheduler_of


def build(config: Config) -> Sequence[Part]:
    """The parts, in the order in which they start: each finds what it needs already there."""
    bus = bus_of(config)
    scheduler = scheduler_of(config, bus)
    registry = Registry(config.timers.sweep_seconds)
    links = {"local": scheduler.links.link}
    presences = {"local": registry.streams.report_presence}
    enrolling = registry.enrolling(config.name, config.directory_agents_max)
    return [
        scheduler.part,
        registry.part(lambda: registry.running([scheduler.catalogue.watch])),
        executor_part(Executor(settings_of(config), links, presences, bus=bus)),
        directory_part(
            config,
            directory_of(config),
            kinds=("scheduler", "registry", "executor"),
            finds={"registry": enrolling.found_registries},
            enrol=enrolling.run if config.directory else None,
        ),
    ]


if __name__ == "__main__":
    sys.exit(run_process(Role.ALL, build))
