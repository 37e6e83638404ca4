"""The tables of `muster.model.records`, in SQL: how their rows are written and read.

All databases share the statements; they differ in how parameters are marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select, tuple_

from muster.backends.sql.schema import metadata
from muster.model.records import TABLES, Action, Record, Records, Row, RowQuery

Marks = Callable[[int], str]  # how the parameter of a number, from 1, is marked


def question_mark(number: int) -> str:
    """Of SQLite."""
    return f"?{number}"


def dollar(number: int) -> str:
    """Of PostgreSQL."""
    return f"${number}"


def writes(records: Records, mark: Marks) -> Iterator[tuple[str, list[Row]]]:
    """The statements that write a batch's records, each with the rows it is to be called with.

    Of each key there is one record at most, so their order means nothing.
    """

    def kind(each: tuple[tuple[str, tuple[Any, ...]], Record]) -> tuple[str, Action]:
        return each[0][0], each[1].action

    for (table, action), group in groupby(sorted(records.items(), key=kind), key=kind):
        yield statement(table, action, mark), [record.row for _, record in group]


@cache
def statement(table: str, action: Action, mark: Marks) -> str:
    """What does this to one row of a table."""
    columns, keys = TABLES[table]
    key = columns[:keys]
    if action is Action.DELETE:
        conditions = " AND ".join(f"{name} = {mark(n)}" for n, name in enumerate(key, 1))
        return f"DELETE FROM {table} WHERE {conditions}"
    values = ", ".join(mark(n) for n in range(1, len(columns) + 1))
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"
    if action is Action.ADD:
        return f"{insert} ON CONFLICT ({', '.join(key)}) DO NOTHING"
    rest = ", ".join(f"{name} = excluded.{name}" for name in columns[keys:])
    return f"{insert} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {rest}"


def rows(connection: Connection, query: RowQuery) -> list[tuple[Any, ...]]:
    """The rows that fit, columns in the order of the query, or else of `TABLES`."""
    table = metadata.tables[query.table]
    wanted = select(*(table.c[name] for name in query.columns or TABLES[query.table].columns))
    for name, value in query.equal.items():
        column = table.c[name]
        several = isinstance(value, Sequence | frozenset | set) and not isinstance(
            value, str | bytes
        )
        wanted = wanted.where(column.in_(sorted(value)) if several else column == value)
    order = [table.c[name] for name in query.order]
    if query.after is not None:
        here, there = tuple_(*order), tuple_(*query.after)
        wanted = wanted.where(here < there if query.descending else here > there)
    wanted = wanted.order_by(*(each.desc() if query.descending else each for each in order))
    return [tuple(row) for row in connection.execute(wanted.limit(query.limit))]


def delete_of_runs(mark: Marks) -> Mapping[str, str]:
    """What forgets a run, by its id: a statement for each table that has something of it."""
    return {
        table: f"DELETE FROM {table} WHERE {column} = {mark(1)}"
        for table, column in (
            ("workflow_journal", "run_id"),
            ("workflow_heads", "run_id"),
            ("workflow_runs", "id"),
        )
    }
