"""Brings a ledger's tables to the newest version.

Alembic takes a fifth of a second to import, so it is, only when there is something to migrate.
"""

from __future__ import annotations

from importlib import resources

from sqlalchemy import Connection, inspect, text

from muster.backends.ledger_base import LedgerForeign

HEAD = "0006"

_ELSEWHERE = {
    "sqlite": "data directory (MUSTER_DATA_DIR)",
    "postgresql": "database (MUSTER_LEDGER)",
}


def current(connection: Connection) -> str:
    """The version that the tables have; empty when there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, in one transaction that the caller commits.

    A ledger of a newer Muster raises `LedgerForeign`.
    """
    version = current(connection)
    if version == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    folder = resources.files("muster.backends.sql") / "migrations"
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    if connection.dialect.name == "sqlite":
        # Its driver begins none for statements that make tables: each would stand by itself, and
        # after a crash between two of them the ledger could be opened no more.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LedgerForeign(
            f"the ledger has version {version!r}, which this Muster does not know; run the Muster "
            f"that wrote it, or choose another {_ELSEWHERE[connection.dialect.name]}"
        ) from error
