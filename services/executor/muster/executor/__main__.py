"""Runs an executor: python -m muster.executor. See muster.runtime.config for its environment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from muster.backends.bus_base import Bus
from muster.executor.core_state import Timers
from muster.executor.link_dial import dial_link, dial_presence
from muster.executor.service import Executor, Settings
from muster.executor.servicer_part import executor_part
from muster.runtime.bus_remote import RemoteBus
from muster.runtime.buses import bus_of
from muster.runtime.config import Config, Role
from muster.runtime.directories import directory_of, directory_part
from muster.runtime.entry import run_process
from muster.runtime.looking_up import as_targets
from muster.runtime.network import join_address
from muster.runtime.places import EMBEDDED_BUS
from muster.runtime.serve import Part
from muster.wire.targets import SEPARATOR


def settings_of(
    config: Config, scheduler_address: str = "", registry_address: str = ""
) -> Settings:
    """What an executor is told; hosts find the other services at its own address by default."""
    return Settings(
        name=config.name,
        address=config.listen.advertise
        or join_address(config.listen.host, config.listen.grpc_port),
        scheduler_address=scheduler_address,
        registry_address=registry_address,
        timers=Timers(
            heartbeat_seconds=config.timers.heartbeat_seconds,
            lease_periods=config.timers.lease_periods,
            accept_seconds=config.timers.accept_seconds,
            resume_grace_seconds=config.timers.resume_grace_seconds,
        ),
        sweep_seconds=config.timers.sweep_seconds,
    )


def _bus(config: Config) -> Bus | None:
    """NATS, or else that of the one scheduler; None where it is not known to be the only one."""
    if config.bus != EMBEDDED_BUS:
        return bus_of(config)
    if len(config.scheduler_targets) != 1:
        return None
    return RemoteBus(config.scheduler_targets[0], config.tls.security)


def build(config: Config) -> Sequence[Part]:
    """The parts of an executor process."""
    settings = settings_of(
        config, SEPARATOR.join(config.scheduler_targets), SEPARATOR.join(config.registry_targets)
    )
    security = config.tls.security
    dial = partial(dial_link, security=security)
    dial_registry = partial(dial_presence, security=security)
    schedulers = {target: dial(target) for target in config.scheduler_targets}
    registries = {target: dial_registry(target) for target in config.registry_targets}
    bus = _bus(config)
    executor = Executor(settings, schedulers, registries, dial, dial_registry, bus=bus)
    finds = {
        "scheduler": as_targets(executor.found_schedulers),
        "registry": as_targets(executor.found_registries),
    }
    directory = directory_part(config, directory_of(config), ["executor"], finds)
    alongside = [] if bus is None else [bus.run]
    return [executor_part(executor, alongside), directory]


if __name__ == "__main__":
    sys.exit(run_process(Role.EXECUTOR, build))
