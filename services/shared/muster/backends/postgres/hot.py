"""The statements of every contract's life, as PostgreSQL likes them best.

Everything that a transaction writes goes to the server in one message, and one answer comes back:
a function, made in each writer's session (`pg_temp`), takes the rows as one array for each column
and runs one statement for each kind of rows. The server's implicit transaction ends with it, so
that a commit is one round trip and one flush. A function that a migration makes was rejected: its
version could differ from the program's.

Rows of a kind are written by one statement, which does not see what it writes itself. So a call
holds at most one lease, and one ending, of each contract: `calls` splits what has more.

The session forbids everything but index look-ups (`SETTINGS`): all that is asked here is by key,
and a plan that was made while the tables were empty must not stay a scan when they are not.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from sqlalchemy import BigInteger, Integer, LargeBinary, SmallInteger, Text

from muster.backends.sql import fence
from muster.backends.sql.keeping import logs_to_trim, superseded_progress
from muster.backends.sql.schema import metadata
from muster.model.ids import shard_of_id
from muster.model.ledger import (
    ANSWER_COLUMNS,
    CONTRACT_COLUMNS,
    ENDING_COLUMNS,
    ITEM_COLUMNS,
    LEASE_COLUMNS,
    QUESTION_COLUMNS,
    RESPONSE_COLUMNS,
    START_COLUMNS,
    Batch,
    Row,
    Segment,
)
from muster.model.limits import LOG_BYTES_KEPT_MAX

LOCK_SECONDS = 2  # for what only a claim, or a lost session's last commit, can hold
STATEMENT_SECONDS = 120  # a statement that is still running then has been given up long ago

SETTINGS = {
    "synchronous_commit": "on",  # the promise rests on this
    "default_transaction_isolation": "read committed",
    "lock_timeout": str(LOCK_SECONDS * 1000),
    "statement_timeout": str(STATEMENT_SECONDS * 1000),
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

OWNERSHIP_LOST = "MU001"  # sqlstate

CATALOGUE_COLUMNS = ("tenant", "name", "version", "revision", "created_ms", "capability")
KINDS: Mapping[str, tuple[str, ...]] = {  # in the order of `Segment`
    "contracts": CONTRACT_COLUMNS,
    "leases": LEASE_COLUMNS,
    "starts": START_COLUMNS,
    "items": ITEM_COLUMNS,
    "endings": ENDING_COLUMNS,
    "questions": QUESTION_COLUMNS,
    "answers": ANSWER_COLUMNS,
    "responses": RESPONSE_COLUMNS,
}

_TYPES = {
    Text: "text",
    LargeBinary: "bytea",
    SmallInteger: "smallint",
    Integer: "integer",
    BigInteger: "bigint",
}


def _arrays(table: str, columns: Iterable[str]) -> dict[str, str]:
    """Parameters for the columns of a table, by name, with their types."""
    types = metadata.tables[table].c
    return {f"{table}_{name}": f"{_TYPES[type(types[name].type)]}[]" for name in columns}


_FENCE = {"fence_owner": "text", "fence_shard": "smallint[]", "fence_generation": "bigint[]"}
_PARAMETERS = {
    **_FENCE,
    **_arrays("catalogue", CATALOGUE_COLUMNS),
    **{name: type_ for kind in KINDS for name, type_ in _arrays(kind, KINDS[kind]).items()},
    "progress_contract_id": "bigint[]",
    "progress_epoch": "bigint[]",
    "progress_idx": "integer[]",
    "logs_contract_id": "bigint[]",
    "logs_epoch": "bigint[]",
    "outbox_position": "bigint",
    "outbox_time_ms": "bigint",
    "outbox_shard": "smallint[]",
    "outbox_events": "bytea[]",
}


def _rows(table: str, columns: Sequence[str]) -> str:
    """What stands in a FROM: the rows of a kind, as `v`, in order."""
    arrays = ", ".join(f"{table}_{name}" for name in columns)
    return f"unnest({arrays}) AS v ({', '.join(columns)})"


def _insert(table: str, columns: Sequence[str], rest: str) -> str:
    names = ", ".join(columns)
    values = ", ".join(f"v.{name}" for name in columns)
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM {_rows(table, columns)} {rest};"


_WITH_CONTRACT = "JOIN contracts c ON c.id = v.contract_id"


def _fenced(
    kind: str, condition: str, same: str, conflict: str = "", join: str = _WITH_CONTRACT
) -> str:
    """Writes rows of a kind where their condition holds, and returns those that are not there."""
    columns = KINDS[kind]
    arrays = ", ".join(f"{kind}_{name}" for name in columns)
    count = f"cardinality({kind}_{columns[0]})"
    return f"""
      IF {count} > 0 THEN
        {_insert(kind, columns, f"{join} WHERE {condition} {conflict}")}
        GET DIAGNOSTICS taken = ROW_COUNT;
        IF taken < {count} THEN
          RETURN QUERY SELECT '{kind}', v.number, 0::bigint, NULL::bytea
            FROM unnest({arrays}) WITH ORDINALITY AS v ({", ".join(columns)}, number)
            WHERE NOT EXISTS (SELECT 1 FROM {kind} t WHERE {same});
        END IF;
      END IF;"""


_SAME = "t.contract_id = v.contract_id AND t.epoch = v.epoch"
_SAME_QUESTION = "t.subject_id = v.subject_id AND t.question_id = v.question_id"
_ONCE = "ON CONFLICT (subject_id, question_id) DO NOTHING"

# Locks the rows until the transaction ends: a claim waits for it, and so does the same batch when
# it comes again while a lost session may still be committing it.
_LOCK = """1 FROM shards s
    JOIN unnest({}, {}) AS w (shard, generation)
      ON s.shard = w.shard AND s.generation = w.generation
    WHERE s.owner = {} ORDER BY s.shard FOR NO KEY UPDATE OF s"""
OWNED = "SELECT " + _LOCK.format("$1::smallint[]", "$2::bigint[]", "$3::text")
_OWNED = f"""
  PERFORM {_LOCK.format("fence_shard", "fence_generation", "fence_owner")};
  GET DIAGNOSTICS taken = ROW_COUNT;
  IF taken < cardinality(fence_shard) THEN
    RAISE EXCEPTION USING ERRCODE = '{OWNERSHIP_LOST}', MESSAGE = 'another owner';
  END IF;"""

_CONTRACTS = f"""
  IF cardinality(contracts_id) > 0 THEN
    {_insert("contracts", CONTRACT_COLUMNS, "ON CONFLICT (tenant, principal, request_id) DO NOTHING")}
    GET DIAGNOSTICS taken = ROW_COUNT;
    IF taken < cardinality(contracts_id) THEN
      RETURN QUERY SELECT 'contracts', v.number, c.id, c.body_sha256
        FROM unnest(contracts_id, contracts_tenant, contracts_principal, contracts_request_id)
          WITH ORDINALITY AS v (id, tenant, principal, request_id, number)
        JOIN contracts c ON c.tenant = v.tenant AND c.principal = v.principal
          AND c.request_id = v.request_id
        WHERE c.id <> v.id;
    END IF;
  END IF;"""  # noqa: E501

# Progress supersedes itself; of logs only the newest bytes are kept: everything goes that is before
# the line with which, counted from the newest, they are full.
_ITEMS = f"""
  IF cardinality(items_contract_id) > 0 THEN
    {_insert("items", ITEM_COLUMNS, "ON CONFLICT (contract_id, epoch, idx) DO NOTHING")}
    DELETE FROM items i USING unnest(progress_contract_id, progress_epoch, progress_idx)
      AS v (contract_id, epoch, idx)
      WHERE i.contract_id = v.contract_id AND i.epoch = v.epoch AND i.kind = 1 AND i.idx < v.idx;
    DELETE FROM items i USING (
      SELECT v.contract_id, v.epoch, (
        SELECT max(s.idx) FROM (
          SELECT k.idx, sum(length(k.item)) OVER (ORDER BY k.idx DESC) AS bytes FROM items k
          WHERE k.contract_id = v.contract_id AND k.epoch = v.epoch AND k.kind = 2) s
        WHERE s.bytes >= {LOG_BYTES_KEPT_MAX}) AS idx
      FROM unnest(logs_contract_id, logs_epoch) AS v (contract_id, epoch)) f
      WHERE i.contract_id = f.contract_id AND i.epoch = f.epoch AND i.kind = 2 AND i.idx < f.idx;
  END IF;"""

_DECLARED = f"""
CREATE OR REPLACE FUNCTION pg_temp.muster_write(
  {", ".join(f"{name} {type_}" for name, type_ in _PARAMETERS.items())}
) RETURNS TABLE (refused_kind text, refused_number bigint, existing_id bigint, existing_sha256 bytea)
LANGUAGE plpgsql AS $muster$
#variable_conflict use_column
DECLARE
  began timestamptz := clock_timestamp();
  taken bigint;
BEGIN"""  # noqa: E501

WRITE_FUNCTION = "".join(
    (
        _DECLARED,
        _OWNED,
        "IF cardinality(catalogue_tenant) > 0 THEN ",
        _insert("catalogue", CATALOGUE_COLUMNS, "ON CONFLICT (tenant, name, version) DO NOTHING"),
        "END IF;",
        _CONTRACTS,
        _fenced("leases", fence.lease("v.contract_id", "v.epoch"), _SAME),
        "IF cardinality(starts_contract_id) > 0 THEN ",
        _insert("starts", START_COLUMNS, "ON CONFLICT (contract_id, epoch) DO NOTHING"),
        "END IF;",
        _ITEMS,
        _fenced("endings", fence.ending("v.contract_id", "v.epoch"), _SAME),
        _fenced(
            "questions",
            fence.question("v.subject_id", "v.epoch"),
            f"{_SAME_QUESTION} AND t.epoch = v.epoch",
            _ONCE,
            "",
        ),
        _fenced(
            "answers",
            fence.answer("v.subject_id", "v.question_id"),
            f"{_SAME_QUESTION} AND t.closing = v.closing AND t.answer = v.answer",
            _ONCE,
            "",
        ),
        _fenced(
            "responses",
            fence.response("v.contract_id", "v.epoch", "v.author"),
            f"{_SAME} AND t.author = v.author",
            "ON CONFLICT (contract_id) DO NOTHING",
        ),
        "IF cardinality(outbox_shard) > 0 THEN ",
        "INSERT INTO shard_outbox (shard, position, time_ms, events) "
        "SELECT v.shard, outbox_position, outbox_time_ms, v.events "
        "FROM unnest(outbox_shard, outbox_events) AS v (shard, events) "
        # There already when the same batch comes again: it has the same position.
        "ON CONFLICT (shard, position) DO NOTHING; END IF;",
        # How long all this took, in microseconds, so that the rest can be told from it.
        "RETURN QUERY SELECT '', (extract(epoch FROM clock_timestamp() - began) * 1000000)::bigint,"
        " 0::bigint, NULL::bytea; END $muster$",
    )
)
WRITE = (
    "SELECT * FROM pg_temp.muster_write("
    + ", ".join(f"${n}::{type_}" for n, type_ in enumerate(_PARAMETERS.values(), 1))
    + ")"
)

Owned = Mapping[int, int]  # shard -> generation


def calls(
    batch: Batch, owner: str, owned: Owned, position: int, now_ms: int
) -> list[tuple[Segment, list[Any]]]:
    """What to call `WRITE` with, one after the other, for all of a batch."""
    made = []
    segments = list(_at_most_one(batch.segments))
    for segment in segments:
        first, last = segment is segments[0], segment is segments[-1]
        shards = sorted(_shards_of(segment, batch if first else None))
        # A shard that is not ours has no generation, and no shard has generation -1.
        arguments: list[Any] = [owner, shards, [owned.get(shard, -1) for shard in shards]]
        arguments += _columns(batch.capabilities if first else [], CATALOGUE_COLUMNS)
        for kind, columns in KINDS.items():
            arguments += _columns(getattr(segment, kind), columns)
        arguments += _columns(superseded_progress(segment.items), ("contract_id", "epoch", "idx"))
        arguments += _columns(sorted(logs_to_trim(segment.items)), ("contract_id", "epoch"))
        events = _by_shard(batch.events) if last else {}
        arguments += [position, now_ms, list(events), [each.tobytes() for each in events.values()]]
        made.append((segment, arguments))
    return made


def _at_most_one(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The segments, with at most one lease and one ending of each contract in each."""
    for segment in segments:
        while _repeats(segment.leases) or _repeats(segment.endings):
            leases, later_leases = _first_of_each(segment.leases)
            if later_leases:
                yield Segment(contracts=segment.contracts, leases=leases)
                segment = replace(segment, contracts=[], leases=later_leases)  # noqa: PLW2901
                continue
            endings, later_endings = _first_of_each(segment.endings)
            yield Segment(segment.contracts, leases, segment.starts, segment.items, endings)
            segment = Segment(  # noqa: PLW2901 - what is left of it
                endings=later_endings,
                questions=segment.questions,
                answers=segment.answers,
                responses=segment.responses,
            )
        yield segment


def _repeats(rows: Sequence[Row]) -> bool:
    return len(rows) > 1 and len({row[0] for row in rows}) < len(rows)


def _first_of_each(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    seen: set[int] = set()
    first: list[Row] = []
    later: list[Row] = []
    for row in rows:
        (later if row[0] in seen else first).append(row)
        seen.add(row[0])
    return first, later


def _columns(rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * len(columns)


def _shards_of(segment: Segment, batch: Batch | None) -> set[int]:
    """The shards of a segment's rows, and with a batch those of its records."""
    rows = chain.from_iterable(getattr(segment, kind) for kind in KINDS)
    records = () if batch is None else batch.records.values()
    return {shard_of_id(row[0]) for row in rows} | {record.shard for record in records}


def _by_shard(events: array[int]) -> dict[int, array[int]]:
    """(contract id, sequence) pairs, flattened, for each shard in their order."""
    found: dict[int, array[int]] = {}
    numbers = iter(events)
    for number, sequence in zip(numbers, numbers, strict=True):
        shard = shard_of_id(number)
        pairs = found.get(shard)
        if pairs is None:
            pairs = found[shard] = array("Q")
        pairs.append(number)
        pairs.append(sequence)
    return found
