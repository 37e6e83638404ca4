"""Runs a worker of the engine: `python -m muster.engine`. See `muster.runtime.config`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from muster.runtime.config import Config, ConfigError, Role
from muster.runtime.directories import directory_of, directory_part
from muster.runtime.entry import run_process
from muster.runtime.looking_up import as_targets
from muster.runtime.serve import Part


def build(config: Config) -> Sequence[Part]:
    """The parts of a worker's process. Raises `ConfigError` where it cannot work."""
    try:
        from muster.engine.connecting import temporal_of
        from muster.engine.part import EngineWorker, Settings, engine_part
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("temporalio"):
            raise
        raise ConfigError(
            "workers of the engine need Temporal's client, which is not installed; "
            "pip install 'muster-mesh[server,temporal]'"
        ) from None
    settings = Settings(
        config.name, temporal_of(config), config.scheduler_targets, config.tls.security
    )
    worker = EngineWorker(settings)
    finds = {"scheduler": as_targets(worker.found_schedulers)}
    # The directory first: where schedulers are, the worker may have from there alone.
    return [directory_part(config, directory_of(config), [], finds), engine_part(worker)]


if __name__ == "__main__":
    sys.exit(run_process(Role.ENGINE, build))
