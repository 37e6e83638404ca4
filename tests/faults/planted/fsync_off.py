"""SQLite is told not to wait for the disk."""

from __future__ import annotations

import sqlite3
import sqlite3.dbapi2
from functools import partial
from typing import Any

from tests.faults.planted import put


class Unsynced(sqlite3.Connection):
    """A connection that leaves it to the system when something reaches the disk."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Whatever is asked for, synchronous is off."""
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous=OFF"
        return super().execute(sql, *parameters)


def plant() -> None:
    """Every connection that is opened from now on."""
    connect = partial(sqlite3.connect, factory=Unsynced)
    put(sqlite3, "connect", connect)
    put(sqlite3.dbapi2, "connect", connect)
