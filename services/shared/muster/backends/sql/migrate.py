"""Brings a ledger's tables to the newest version.

Alembic takes a fifth of a second to import, so it is, only when there is something to migrate.
"""

from __future__ import annotations

from importlib import resources

from sqlalchemy import Connection, inspect, text

HEAD = "0001"


def current(connection: Connection) -> str:
    """The version that the tables have; empty when there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing. A ledger of a newer Muster raises `ValueError`."""
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
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        message = f"the ledger has version {version!r}, which this Muster does not know; "
        raise ValueError(message + "run the version that wrote it, or a newer one") from error
