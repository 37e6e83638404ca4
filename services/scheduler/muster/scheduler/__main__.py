"""Runs a scheduler as a process of its own: `python -m muster.scheduler`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from muster.backends.blobs_files import FileBlobs
from muster.backends.sqlite.ledger import SqliteLedger
from muster.runtime.config import Config, Role
from muster.runtime.entry import run_process
from muster.runtime.serve import Part
from muster.scheduler.part import SchedulerPart, scheduler_part


def scheduler_of(config: Config) -> SchedulerPart:
    """The scheduler, on the ledger that is configured: its own in the data directory, or one that
    it shares with others."""
    if config.ledger == "sqlite":
        ledger = SqliteLedger(config.data_dir / "ledger.db", config.name)
        blobs = FileBlobs(config.data_dir / "blobs")
        return scheduler_part(config.name, ledger, blobs, config.retention_seconds)
    return _sharing(config)


def _sharing(config: Config) -> SchedulerPart:
    # Imported here: whoever needs no PostgreSQL need not wait for it.
    from muster.backends.postgres.database import Database
    from muster.backends.postgres.ledger import PostgresLedger

    database = Database(config.ledger)
    ledger = PostgresLedger(database, config.name)
    blobs = FileBlobs(config.data_dir / "blobs")
    return scheduler_part(config.name, ledger, blobs, config.retention_seconds, shared=True)


def build(config: Config) -> Sequence[Part]:
    """The scheduler alone."""
    return [scheduler_of(config).part]


if __name__ == "__main__":
    sys.exit(run_process(Role.SCHEDULER, build))
