"""The tables of `muster.model.records`, in SQL: how their rows are written and read.

All databases share the statements; they differ in how parameters are marked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, lru_cache
from itertools import count, groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection

from muster.model.records import TABLES, Action, Record, Records, Row, RowQuery

SHAPES_MAX = 1_000

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

    def kind(each: tuple[tuple[str, tuple[Any, ...]], Record]) -> tuple[str, Action, int]:
        return each[0][0], each[1].action, len(each[1].row)

    for (table, action, width), group in groupby(sorted(records.items(), key=kind), key=kind):
        yield statement(table, action, width, mark), [record.row for _, record in group]


@cache
def statement(table: str, action: Action, width: int, mark: Marks) -> str:
    """What does this to a row of so many columns."""
    columns, keys = TABLES[table]
    key = columns[:keys]
    if action is Action.DELETE:
        named = enumerate(key[:width], 1)
        conditions = " AND ".join(f"{name} = {mark(n)}" for n, name in named)
        return f"DELETE FROM {table} WHERE {conditions}"
    values = ", ".join(mark(n) for n in range(1, len(columns) + 1))
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"
    if action is Action.ADD:
        return f"{insert} ON CONFLICT ({', '.join(key)}) DO NOTHING"
    rest = ", ".join(f"{name} = excluded.{name}" for name in columns[keys:])
    return f"{insert} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {rest}"


def rows(connection: Connection, query: RowQuery) -> list[tuple[Any, ...]]:
    """The rows that fit, columns in the order of the query, or else of `TABLES`.

    The statement is text, made once for each shape of query: to build one of SQLAlchemy's each time
    takes longer than to answer it.
    """
    several = {name: len(each) for name, each in query.equal.items() if _is_several(each)}
    if 0 in several.values():
        return []
    found: list[tuple[Any, ...]] = []
    for chosen in _chunks(query, several):
        shape = _Shape(
            query.table,
            query.columns or TABLES[query.table].columns,
            tuple((name, len(v) if name in several else 0) for name, v in chosen.items()),
            query.order,
            query.after is not None,
            query.descending,
            question_mark if connection.dialect.name == "sqlite" else dollar,
        )
        values: list[Any] = []
        for name, value in chosen.items():
            values.extend(value if name in several else [value])
        values += [*(query.after or ()), query.limit]
        found += map(tuple, connection.exec_driver_sql(_select(shape), tuple(values)))
    return found


VALUES_MAX = 500  # of one IN list


def _is_several(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes)


def _chunks(query: RowQuery, several: Mapping[str, int]) -> Iterator[Mapping[str, Any]]:
    """The conditions, divided where they name more values than one statement takes. Only without an
    order can they be divided."""
    long = [name for name, count in several.items() if count > VALUES_MAX]
    if not long:
        yield query.equal
        return
    (name,) = long
    assert not query.order, "many values and an order"
    values = sorted(query.equal[name])
    for at in range(0, len(values), VALUES_MAX):
        yield {**query.equal, name: values[at : at + VALUES_MAX]}


class _Shape(NamedTuple):
    """What of a query its statement depends on."""

    table: str
    columns: tuple[str, ...]
    equal: tuple[tuple[str, int], ...]  # columns, and how many values each may have; 0: just one
    order: tuple[str, ...]
    after: bool
    descending: bool
    mark: Marks


@lru_cache(SHAPES_MAX)
def _select(shape: _Shape) -> str:
    numbers = count(1)

    def marks(how_many: int) -> str:
        return ", ".join(shape.mark(next(numbers)) for _ in range(how_many))

    conditions = [
        f"{name} IN ({marks(several)})" if several else f"{name} = {marks(1)}"
        for name, several in shape.equal
    ]
    order = ", ".join(shape.order)
    if shape.after:
        compare = "<" if shape.descending else ">"
        conditions.append(f"({order}) {compare} ({marks(len(shape.order))})")
    text = f"SELECT {', '.join(shape.columns)} FROM {shape.table}"
    if conditions:
        text += f" WHERE {' AND '.join(conditions)}"
    if order:
        direction = " DESC" if shape.descending else ""
        text += f" ORDER BY {', '.join(name + direction for name in shape.order)}"
    return f"{text} LIMIT {marks(1)}"
