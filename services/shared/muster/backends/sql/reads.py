"""What is read from a ledger, in SQLAlchemy Core, for every SQL database."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    exists,
    func,
    literal_column,
    select,
)

from muster.backends.sql.asked import of_subjects
from muster.backends.sql.schema import (
    catalogue,
    contracts,
    endings,
    leases,
    outbox,
    published,
    responses,
    shards,
    starts,
)
from muster.backends.sql.schema import (
    items as items_table,
)
from muster.model.ids import first_id_at, shard_of_id
from muster.model.ledger import (
    CatalogueRow,
    ContractQuery,
    StoredAttempt,
    StoredContract,
    StoredQuestion,
    StoredResponse,
)
from muster.model.states import TERMINAL, Author, ContractState, Outcome

CHUNK = 500  # ids per IN list


def versions(connection: Connection, tenant: str, capability: str) -> list[CatalogueRow]:
    """Every version of a capability."""
    return entries(connection, catalogue.c.tenant == tenant, catalogue.c.name == capability)


def entries(connection: Connection, *conditions: ColumnElement[bool]) -> list[CatalogueRow]:
    rows = connection.execute(
        select(
            catalogue.c.tenant,
            catalogue.c.name,
            catalogue.c.version,
            catalogue.c.revision,
            catalogue.c.created_ms,
            catalogue.c.capability,
        )
        .where(*conditions)
        .order_by(catalogue.c.tenant, catalogue.c.revision)
    )
    return [CatalogueRow(*row) for row in rows]


def last_position(connection: Connection) -> int:
    """The newest position of a ledger with one owner; 0 when nothing has happened."""
    return connection.execute(select(func.max(outbox.c.position))).scalar() or 0


def by_scope(connection: Connection, scope: tuple[str, str, str]) -> StoredContract | None:
    """The contract of an idempotency scope."""
    tenant, principal, request_id = scope
    query = select(contracts).where(
        contracts.c.tenant == tenant,
        contracts.c.principal == principal,
        contracts.c.request_id == request_id,
    )
    return next(iter(load(connection, query)), None)


def chunks_of(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Ids, as many as one statement takes."""
    return (numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK))


def by_ids(connection: Connection, numbers: Sequence[int]) -> list[StoredContract]:
    """The contracts with these ids that are there, oldest first."""
    found: list[StoredContract] = []
    for part in chunks_of(numbers):
        found.extend(load(connection, select(contracts).where(contracts.c.id.in_(part))))
    return sorted(found, key=attrgetter("id"))


def page(connection: Connection, query: ContractQuery) -> list[StoredContract]:
    """Contracts that fit, newest first. Agent, labels and open states are for the caller to sift:
    they are not in the rows.
    """
    statement = select(contracts).where(_tenant(query) == query.tenant)
    for column, value in (
        (contracts.c.conversation, query.conversation),
        (contracts.c.root_id, query.root_id),
        (contracts.c.parent_id, query.parent_id),
    ):
        if value:
            statement = statement.where(column == value)
    if query.conversation:
        # In so many words, for the index that holds nothing else.
        statement = statement.where(contracts.c.conversation != literal_column("''"))
    if query.capabilities:
        statement = statement.where(contracts.c.capability.in_(sorted(query.capabilities)))
    if query.since_ms:
        statement = statement.where(contracts.c.id >= first_id_at(query.since_ms))
    if query.before_ms:
        statement = statement.where(contracts.c.id < first_id_at(query.before_ms))
    if query.before:
        statement = statement.where(contracts.c.id < query.before)
    statement = _in_states(statement, query.states)
    statement = statement.order_by(contracts.c.id.desc()).limit(query.limit)
    return load(connection, statement)


def _tenant(query: ContractQuery) -> ColumnElement[str]:
    """The tenant's column; as an expression where nothing but ids narrows a page. Else SQLite takes
    the index that begins with it, and sorts all that a tenant has: 190 ms at 100,000 contracts."""
    if query.conversation or query.root_id or query.parent_id:
        return contracts.c.tenant
    return contracts.c.tenant.concat("")


def _in_states(statement: Select[Any], states: frozenset[ContractState]) -> Select[Any]:
    if not states:
        return statement
    ended = exists().where(responses.c.contract_id == contracts.c.id)
    if states <= TERMINAL:
        return statement.where(ended.where(responses.c.state.in_(sorted(states))))
    if not states & TERMINAL:
        return statement.where(~ended)
    return statement


def load(connection: Connection, statement: Select[Any]) -> list[StoredContract]:
    """Contracts with their attempts and responses, in the statement's order."""
    rows = connection.execute(statement).all()
    numbers = [row.id for row in rows]
    attempts = _attempts(connection, numbers)
    ended = {row.contract_id: row for row in _of(connection, responses, numbers)}
    asked: dict[int, list[StoredQuestion]] = defaultdict(list)
    for question in of_subjects(connection, [n for n in attempts if _has_parked(attempts[n])]):
        asked[question.subject_id].append(question)
    return [
        _contract(row, attempts.get(row.id, []), ended.get(row.id), asked.get(row.id, ()))
        for row in rows
    ]


def _of(connection: Connection, table: Any, numbers: Sequence[int]) -> list[Any]:
    rows: list[Any] = []
    for start in range(0, len(numbers), CHUNK):
        wanted = numbers[start : start + CHUNK]
        rows.extend(connection.execute(select(table).where(table.c.contract_id.in_(wanted))))
    return rows


_Attempts = dict[int, list[tuple[int, str, str, str, int, int, Any]]]


def _attempts(connection: Connection, numbers: Sequence[int]) -> _Attempts:
    """Later leases by contract: (epoch, agent, kind, host, leased_ms, started_ms, ending).

    Entries with leased_ms 0 say what became of the first lease, which is in the contract's row.
    """
    started = {
        (row.contract_id, row.epoch): row.started_ms for row in _of(connection, starts, numbers)
    }
    ended = {(row.contract_id, row.epoch): row for row in _of(connection, endings, numbers)}
    found: _Attempts = defaultdict(list)
    seen = set()
    for row in _of(connection, leases, numbers):
        key = (row.contract_id, row.epoch)
        seen.add(key)
        found[row.contract_id].append(
            (
                row.epoch,
                row.agent,
                row.agent_kind,
                row.host,
                row.leased_ms,
                started.get(key, 0),
                ended.get(key),
            )
        )
    for key in (started.keys() | ended.keys()) - seen:
        found[key[0]].append((key[1], "", "", "", 0, started.get(key, 0), ended.get(key)))
    return found


def _has_parked(entries: list[Any]) -> bool:
    return any(entry[6] is not None and entry[6].outcome == Outcome.PARKED for entry in entries)


def _contract(
    row: Any, later: list[Any], ended: Any, asked: Sequence[StoredQuestion]
) -> StoredContract:
    attempts: list[StoredAttempt] = []
    if row.epoch:
        first = next((entry for entry in later if entry[0] == row.epoch), None)
        started_ms, ending = (first[5], first[6]) if first else (0, None)
        attempts.append(
            _attempt(
                (row.epoch, row.agent, row.agent_kind, row.host, row.accepted_ms),
                started_ms,
                ending,
                ended,
            )
        )
    attempts.extend(
        _attempt(entry[:5], entry[5], entry[6], ended)
        for entry in sorted(later, key=itemgetter(0))
        if entry[0] != row.epoch
    )
    response = None
    if ended is not None:
        response = StoredResponse(
            ended.epoch,
            ContractState(ended.state),
            Author(ended.author),
            ended.ended_ms,
            ended.code,
            ended.response,
        )
    return StoredContract(
        row.id,
        row.tenant,
        row.principal,
        row.request_id,
        row.body_sha256,
        row.capability,
        row.conversation,
        row.parent_id,
        row.root_id,
        row.depth,
        row.actor,
        row.accepted_ms,
        row.deadline_ms,
        row.request,
        tuple(attempts),
        response,
        tuple(asked),
    )


def _attempt(
    lease: tuple[int, str, str, str, int], started_ms: int, ending: Any, response: Any
) -> StoredAttempt:
    if ending is not None:
        started_ms = started_ms or ending.started_ms
        outcome = Outcome(ending.outcome)
        return StoredAttempt(
            *lease, started_ms, outcome, ending.ended_ms, ending.code, ending.failure
        )
    if response is not None and response.epoch == lease[0]:
        started_ms = started_ms or response.started_ms
        outcome = Outcome(response.outcome)
        return StoredAttempt(*lease, started_ms, outcome, response.ended_ms, response.code, b"")
    return StoredAttempt(*lease, started_ms, Outcome.OPEN, 0, "", b"")


def items(
    connection: Connection, key: tuple[int, int, int], limit: int
) -> list[tuple[int, int, int, bytes]]:
    """(epoch, index, kind, item) after the key (contract, epoch, index), in order."""
    number, epoch, index = key
    table = items_table.c
    later = (table.epoch > epoch) | ((table.epoch == epoch) & (table.idx > index))
    statement = (
        select(table.epoch, table.idx, table.kind, table.item)
        .where(table.contract_id == number, later)
        .order_by(table.epoch, table.idx)
        .limit(limit)
    )
    return [tuple(row) for row in connection.execute(statement)]


def history(connection: Connection, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(position, packed events) of commits after a position, in order."""
    statement = (
        select(outbox.c.position, outbox.c.events)
        .where(outbox.c.position > after)
        .order_by(outbox.c.position)
        .limit(limit)
    )
    return [tuple(row) for row in connection.execute(statement)]


def shard_history(
    connection: Connection, shard: int, after: int, limit: int
) -> list[tuple[int, list[tuple[int, int]]]]:
    """(position, events) of commits to one shard, where a row holds the events of all of them."""
    found: list[tuple[int, list[tuple[int, int]]]] = []
    while len(found) < limit:
        rows = history(connection, after, limit)
        for position, packed in rows:
            events = [pair for pair in pairs_of(packed) if shard_of_id(pair[0]) == shard]
            if events:
                found.append((position, events))
        if len(rows) < limit:
            break
        after = rows[-1][0]
    return found[:limit]


def published_positions(connection: Connection) -> dict[int, int]:
    """How far events have been published, by shard."""
    rows = connection.execute(select(published.c.shard, published.c.position))
    return {row.shard: row.position for row in rows}


def shard_owners(connection: Connection) -> list[tuple[int, int, str]]:
    """(shard, generation, owner) of every shard that somebody ever had."""
    columns = (shards.c.shard, shards.c.generation, shards.c.owner)
    return [tuple(row) for row in connection.execute(select(*columns).order_by(shards.c.shard))]


def pairs_of(packed: bytes) -> list[tuple[int, int]]:
    """The (contract id, sequence) pairs of an outbox row."""
    numbers = array("Q")
    numbers.frombytes(packed)
    return list(zip(numbers[::2], numbers[1::2], strict=True))
