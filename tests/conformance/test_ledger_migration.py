"""Ledgers of an earlier version: they are brought up to date, with everything that is in them."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, inspect

from muster.backends.ledger_base import Ledger, LedgerForeign
from muster.backends.postgres.database import Database
from muster.backends.sql.migrate import HEAD
from muster.backends.sql.schema import metadata
from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.ledger import CONTRACT_COLUMNS, RESPONSE_COLUMNS
from tests.conformance.records import PostgresRecord, Record
from tests.support.ledger_rows import ONE, TWO, batch, contract, leased, response


def make_first_version(path: Path) -> None:
    """A ledger as the first Muster made it, with one open contract and one that has ended."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        config = Config()
        folder = resources.files("muster.backends.sql") / "migrations"
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    engine.dispose()
    with sqlite3.connect(path) as file:
        for table, columns, rows in (
            ("contracts", CONTRACT_COLUMNS, [contract(ONE), leased(TWO, 1 << 32 | 1)]),
            ("responses", RESPONSE_COLUMNS, [response(1 << 32 | 1, TWO)]),
            ("shards", ("shard", "generation", "owner"), [(n, 1, "first") for n in range(64)]),
            ("outbox", ("position", "time_ms", "events"), [(7, 0, b"")]),
        ):
            marks = ", ".join("?" * len(columns))
            file.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
    file.close()


async def test_a_ledger_of_the_first_version_goes_on_with_all_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_first_version(path)
    ledger = SqliteLedger(path, "owner")
    opening = await ledger.open()
    assert (opening.generation, opening.last_id, opening.position) == (2, TWO, 7)
    assert [each.id for each in opening.open_contracts] == [ONE]
    found = await ledger.load([ONE, TWO])
    assert [each.response is not None for each in found] == [False, True]
    result = await ledger.commit(batch(responses=[response(0, ONE, author=2)], events=[(ONE, 2)]))
    assert (result.refused, result.position) == ([], 8)
    assert {each.trimmed for each in await ledger.ownership()} == {0}
    await ledger.close()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)
    file.close()


def shape_of(connection: Connection) -> dict[str, dict[str, tuple[str, bool]]]:
    """Table -> column -> (type, nullable), as the database has it."""
    inspector = inspect(connection)
    return {
        table: {
            each["name"]: (str(each["type"]), bool(each["nullable"]))
            for each in inspector.get_columns(table)
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def partial_indexes_of(connection: Connection) -> set[str]:
    inspector = inspect(connection)
    return {
        str(index["name"])
        for table in metadata.tables
        for index in inspector.get_indexes(table)
        if any(option.endswith("_where") for option in index.get("dialect_options", {}))
    }


async def shape(ledger: Ledger, record: Record, tmp_path: Path) -> tuple[object, set[str]]:
    await ledger.open()
    await ledger.close()
    if isinstance(record, PostgresRecord):
        database = Database(record.url)
        found = await database.read(lambda c: (shape_of(c), partial_indexes_of(c)))
        await database.close()
        return found
    engine = create_engine(f"sqlite:///{tmp_path}/ledger.db")
    with engine.connect() as connection:
        return shape_of(connection), partial_indexes_of(connection)


async def test_migrations_make_the_tables_that_reads_go_by(record: Record, tmp_path: Path) -> None:
    made, partial = await shape(record.make(), record, tmp_path)
    if isinstance(record, PostgresRecord):
        engine = create_engine("postgresql+asyncpg://")
    else:
        engine = create_engine("sqlite://")
    meant = {
        name: {
            column.name: (column.type.compile(engine.dialect), bool(column.nullable))
            for column in table.columns
        }
        for name, table in metadata.tables.items()
    }
    spellings = {"TIMESTAMP": "TIMESTAMP WITH TIME ZONE"}
    assert made == meant or _respelled(made, spellings) == meant
    assert partial == {
        "contracts_parent",
        "contracts_root",
        "contracts_conversation",
        "blobs_unfinished",
        "questions_of_runs",
    }


def _respelled(shape: object, spellings: dict[str, str]) -> object:
    assert isinstance(shape, dict)
    return {
        table: {
            column: (spellings.get(type_, type_), nullable)
            for column, (type_, nullable) in columns.items()
        }
        for table, columns in shape.items()
    }


@pytest.mark.parametrize("record", ["postgres"], indirect=True)
async def test_a_database_of_a_newer_version_is_refused(record: PostgresRecord) -> None:
    ledger = record.make()
    await ledger.open()
    await ledger.close()
    async with record.admin() as admin:
        await admin.execute("UPDATE alembic_version SET version_num = '9999'")
    later = record.make()
    with pytest.raises(LedgerForeign, match=r"'9999'.*\(MUSTER_LEDGER\)"):
        await later.open()
    await later.close()
