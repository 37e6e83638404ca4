"""Runs a registry as a process of its own: `python -m muster.registry`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from muster.registry.catalogue import CatalogueSources, dial_catalogue
from muster.registry.part import Registry
from muster.runtime.config import Config, Role
from muster.runtime.directories import directory_of, directory_part
from muster.runtime.entry import run_process
from muster.runtime.looking_up import OnLevel, as_targets
from muster.runtime.serve import Part


def build(config: Config) -> Sequence[Part]:
    """The registry, following the catalogue of the schedulers that it is told of or finds."""
    registry = Registry(config.timers.sweep_seconds)
    dial = partial(dial_catalogue, security=config.tls.security)
    watches = [dial(target) for target in config.scheduler_targets]
    sources = CatalogueSources(watches, dial)
    enrolling = registry.enrolling(config.name, config.directory_agents_max)
    finds: dict[str, OnLevel] = {
        "scheduler": as_targets(sources.found),
        "registry": enrolling.found_registries,
    }
    # The embedded directory is of this process alone, which has presence itself.
    enrol = enrolling.run if config.directory else None
    directory = directory_part(config, directory_of(config), ["registry"], finds, enrol)
    return [registry.part(lambda: registry.running_on(sources)), directory]


if __name__ == "__main__":
    sys.exit(run_process(Role.REGISTRY, build))
