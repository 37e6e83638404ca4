"""Runs a scheduler as a process of its own: `python -m muster.scheduler`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from muster.backends.base import Blobs
from muster.backends.bus_base import Bus
from muster.backends.ledger_base import Ledger
from muster.runtime.buses import bus_of
from muster.runtime.config import Config, ConfigError, Role
from muster.runtime.directories import directory_of, directory_part
from muster.runtime.entry import run_process
from muster.runtime.places import EMBEDDED_LEDGER
from muster.runtime.serve import Part
from muster.scheduler.part import SchedulerPart, scheduler_part
from muster.scheduler.workflows.parts import Engines
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, ENGINE_KIND_TEMPORAL


def scheduler_of(config: Config, bus: Bus) -> SchedulerPart:
    """The scheduler on this bus and the configured backends. Raises `ConfigError` where those are
    missing."""
    shared = config.ledger != EMBEDDED_LEDGER
    ledger, blobs = _postgres(config) if shared else _embedded(config)
    return scheduler_part(
        config.name,
        ledger,
        blobs,
        config.retention_seconds,
        shared=shared,
        security=config.tls.security,
        bus=bus,
        engines=Engines(_ENGINES[config.workflow_engine], bool(config.temporal)),
        memory_quiet_seconds=config.memory_quiet_seconds,
    )


_ENGINES = {"local": ENGINE_KIND_LOCAL, "temporal": ENGINE_KIND_TEMPORAL}


# Each imports what it needs only: what the other one does takes a tenth of a second to import.


def _embedded(config: Config) -> tuple[Ledger, Blobs]:
    from muster.backends.blobs_files import FileBlobs
    from muster.backends.sqlite.ledger import SqliteLedger

    ledger = SqliteLedger(config.data_dir / "ledger.db", config.name)
    return ledger, FileBlobs(config.data_dir / "blobs")


def _postgres(config: Config) -> tuple[Ledger, Blobs]:
    try:
        from muster.backends.postgres.blobs import PostgresBlobs
        from muster.backends.postgres.database import Database
        from muster.backends.postgres.ledger import PostgresLedger
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigError(
            "MUSTER_LEDGER names PostgreSQL, whose driver is not installed; "
            "pip install 'muster-mesh[server,postgres]'"
        ) from None
    database = Database(config.ledger)
    return PostgresLedger(database, config.name), PostgresBlobs(database)


def build(config: Config) -> Sequence[Part]:
    """The scheduler alone."""
    directory = directory_part(config, directory_of(config), ["scheduler"])
    return [scheduler_of(config, bus_of(config)).part, directory]


if __name__ == "__main__":
    sys.exit(run_process(Role.SCHEDULER, build))
