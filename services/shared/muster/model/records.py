"""What a ledger keeps besides contracts: workflows, their runs, schedules, memory.

Such rows are few beside those of contracts, and are written with them: a `Batch` holds rows of any
of these tables, each for the shard whose owner writes it, and its transaction makes them true
together with everything else in it. Only the owner of that shard writes a row, so what it has read
and decided is what stands there; the generation fences, as for all rows.

Tables are described here in plain values: their columns, of which the first ones are the key. Times
are Unix milliseconds, 0 stands for "none", and text has no NUL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

Row = Sequence[Any]


class Action(IntEnum):
    """What becomes of a row."""

    ADD = 1  # it is new; where it is there already, the batch has been written before
    PUT = 2  # it takes the place of the row with its key
    DELETE = 3  # only its key counts; the first columns of it name all rows that have these


class TableShape(NamedTuple):
    """The columns of a table, and how many of them, from the first on, are its key."""

    columns: tuple[str, ...]
    key: int


TABLES: Mapping[str, TableShape] = {
    # Versions of workflows. Only added.
    "workflows": TableShape(
        # `workflow` is a serialized muster.v1.Workflow, `sha256` its digest.
        ("tenant", "name", "version", "principal", "created_ms", "sha256", "workflow"),
        3,
    ),
    # What a run was started with. Only added. (tenant, principal, start_id) is unique.
    "workflow_runs": TableShape(
        (
            "id",
            "tenant",
            "principal",
            "start_id",
            "body_sha256",  # of what was asked for, as in contracts
            "workflow",
            "version",
            "engine",
            "conversation",
            "parent_id",  # the run whose step it is, or 0
            "parent_step",
            "parent_item",
            "parent_revision",
            "forked_from",
            "forked_step",
            "started_ms",
            "input",  # serialized muster.v1.Payload
        ),
        1,
    ),
    # Where each run is: what follows from its journal, for lists and for who takes a shard over.
    "workflow_heads": TableShape(
        (
            "run_id",
            "shard",
            "tenant",
            "workflow",
            "conversation",
            "state",
            "is_open",  # 1, or 0 when it has ended
            "sequence",
            "changed_ms",
            "ended_ms",
        ),
        1,
    ),
    # All that happened to runs: serialized muster.v1.RunEvent. Only added.
    "workflow_journal": TableShape(("run_id", "sequence", "time_ms", "event"), 2),
    # What runs, and contracts, asked people, and what was answered: written as rows of contracts
    # are (`muster.model.ledger`), and only forgotten here.
    "questions": TableShape(
        (
            "subject_id",
            "question_id",
            "tenant",
            "epoch",
            "asked_ms",
            "deadline_ms",
            "workflow",
            "step",
            "question",
        ),
        2,
    ),
    "answers": TableShape(("subject_id", "question_id", "closing", "answered_ms", "answer"), 2),
    # Schedules: `spec` is what somebody wants, `state` how far it is, both serialized messages.
    "schedules": TableShape(
        ("tenant", "name", "shard", "principal", "changed_ms", "spec", "state"), 2
    ),
    # What became of each instant of a schedule. `tick_ms` is the instant, `recorded_ms` when it was
    # dealt with, `outcome` and `target` (a contract's or run's id, or 0) what became of it. A row
    # can stand for several instants, `ticks` of them, up to `last_ms`.
    "schedule_ticks": TableShape(
        (
            "tenant",
            "name",
            "tick_ms",
            "number",  # 0, or that of a tick that somebody triggered
            "recorded_ms",
            "outcome",
            "target",
            "kind",  # of target: 0 none, 1 a contract, 2 a run
            "detail",
            "ticks",
            "last_ms",
        ),
        4,
    ),
    # What is left of conversations. Only added.
    "memory_blocks": TableShape(
        (
            "tenant",
            "conversation",
            "number",
            "created_ms",
            "first_id",  # the smallest id of a contract in it
            "through_id",  # the largest
            "floor_id",  # every contract before this one is in this block or an earlier one
            "contracts",  # their ids, 64-bit integers
            "block",  # serialized muster.v1.MemoryBlock
            "trace",  # compressed by zlib: serialized muster.v1.ListTraceResponse
        ),
        3,
    ),
    # What agents keep for themselves: `value` is a serialized muster.v1.Payload.
    "agent_states": TableShape(
        (
            "tenant",
            "agent",
            "name",
            "revision",
            "changed_ms",
            "principal",
            "put_id",  # which write this was, as the client named it
            "size_bytes",  # of the value
            "value",
        ),
        3,
    ),
}


class Record(NamedTuple):
    """A row that a batch writes. Of one key the last counts."""

    action: Action
    row: Row  # of DELETE: the key
    shard: int  # whose owner writes it


Key = tuple[str, tuple[Any, ...]]  # a table, and a row's key in it
Records = dict[Key, Record]


def record(records: Records, action: Action, table: str, row: Row, shard: int) -> None:
    """Note in a batch's records what becomes of a row."""
    key = (table, tuple(row[: TABLES[table].key]))
    earlier = records.pop(key, None)
    if earlier is not None and earlier.action is Action.ADD and action is Action.PUT:
        action = Action.ADD  # it is not there yet
    records[key] = Record(action, row, shard)


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which rows of a table to read. `equal` names columns and the value, or values, they have.

    Rows come in the order of the columns `order` (all rising, or with `descending` all falling),
    at most `limit` of them, and only those after the values `after` of these columns. `columns` are
    what is read of each; none means all.
    """

    table: str
    equal: Mapping[str, Any]
    order: tuple[str, ...] = ()
    after: tuple[Any, ...] | None = None
    descending: bool = False
    limit: int = 1_000
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunEntry:
    """An entry of a run's journal, committed. Told in the order of the commits, as the events of
    contracts are; `contract_id` is the run's, whose ids no contract has."""

    contract_id: int
    tenant: str
    sequence: int
    workflow: str
    time_ms: int
    event: bytes  # serialized muster.v1.RunEvent, with its payloads
