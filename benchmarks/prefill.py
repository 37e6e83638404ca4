"""Fills a ledger with ended contracts, through its own schema, as a year of use would.

`python -m benchmarks.prefill FILE COUNT sdk|random [OPEN]` writes COUNT ended contracts, and OPEN
more that wait in the queue.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
import uuid
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.fleet_process import make_agents
from muster.agent.asking import RequestIds
from muster.agent.spec import agent_spec
from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.ids import IdMaker, format_id, shard_of_scope
from muster.model.ledger import CONTRACT_COLUMNS, RESPONSE_COLUMNS
from muster.model.limits import DEADLINE_DEFAULT_SECONDS
from muster.model.states import Author, ContractState, Outcome
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response

CHUNK = 10_000
COMMIT_CONTRACTS = 20  # what one commit of a busy mesh holds
EVENTS_OF_CONTRACT = 4  # accepted, leased, started, ended
TENANT, PRINCIPAL = "default", "local"
CAPABILITY = "bench.echo"
AGE_MS = 1_000_000  # the newest filled contract is this old, so that all are older than new ones
EPOCH = 1 << 32 | 1  # of the first generation, which is over when a mesh opens the ledger


class Filler:
    """Makes rows as the scheduler does, for contracts that all ask for the same."""

    def __init__(self, random_ids: bool, count: int) -> None:
        self._ids = IdMaker()
        self._request_ids = RequestIds()
        self._random = random_ids
        self._count = count
        self._now_ms = time.time_ns() // 1_000_000
        self._made = 0

    def contract(self, *, leased: bool) -> list[Any]:
        """The row of a contract, placed at once or waiting."""
        self._made += 1
        request_id = self._request_ids.make()
        # Ids of the SDK are as old as the contract; what tells a maker apart stays.
        wall_ms = self._now_ms - AGE_MS - (self._count - self._made) // 5
        request_id = f"{wall_ms:011x}{request_id[11:]}"
        if self._random:
            request_id = str(uuid.uuid4())
        shard = shard_of_scope(TENANT, PRINCIPAL, request_id)
        number = self._ids.make(shard, wall_ms)
        request = Request(request_id=request_id)
        request.capability.name = CAPABILITY
        request.payload.json = f'{{"text":"{"x" * 200}"}}'
        deadline_ms = wall_ms + int(DEADLINE_DEFAULT_SECONDS * 1000)
        row: dict[str, Any] = {
            "id": number,
            "tenant": TENANT,
            "principal": PRINCIPAL,
            "request_id": request_id,
            "body_sha256": uuid.uuid4().bytes * 2,
            "capability": CAPABILITY,
            "conversation": "",
            "parent_id": 0,
            "root_id": number,
            "depth": 0,
            "actor": "",
            "accepted_ms": wall_ms,
            "deadline_ms": deadline_ms,
            "request": request.SerializeToString(),
            "epoch": EPOCH if leased else 0,
            "agent": "h0-7" if leased else "",
            "agent_kind": "echo" if leased else "",
            "host": "h0" if leased else "",
        }
        return [row[column] for column in CONTRACT_COLUMNS]

    def response(self, contract: list[Any]) -> list[Any]:
        """The row that ends a contract."""
        number, request_id = contract[0], contract[3]
        response = Response(contract_id=format_id(number), request_id=request_id)
        response.payload.json = f'"{"x" * 200}"'
        ended_ms = contract[CONTRACT_COLUMNS.index("accepted_ms")] + 20
        row: dict[str, Any] = {
            "contract_id": number,
            "epoch": EPOCH,
            "state": int(ContractState.SUCCEEDED),
            "author": int(Author.AGENT),
            "outcome": int(Outcome.SUCCEEDED),
            "started_ms": ended_ms - 10,
            "ended_ms": ended_ms,
            "code": "",
            "response": response.SerializeToString(),
        }
        return [row[column] for column in RESPONSE_COLUMNS]


def fill(path: Path, count: int, *, random_ids: bool = False, open_contracts: int = 0) -> None:
    """Writes `count` ended contracts and some open ones into a ledger, which nobody may have open.

    About 15 s for a million.
    """
    asyncio.run(_create(path))
    filler = Filler(random_ids, count + open_contracts)
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous=OFF")
        database.execute("PRAGMA cache_size=-1000000")  # 1 GB: random ids touch all of an index
        database.execute("BEGIN IMMEDIATE")
        _offer(database)
        position = 0
        for size in _chunks(count):
            rows = [filler.contract(leased=True) for _ in range(size)]
            _insert(database, "contracts", CONTRACT_COLUMNS, rows)
            responses = [filler.response(row) for row in rows]
            _insert(database, "responses", RESPONSE_COLUMNS, responses)
            position = _announce(database, rows, position)
        for size in _chunks(open_contracts):
            rows = [filler.contract(leased=False) for _ in range(size)]
            _insert(database, "contracts", CONTRACT_COLUMNS, rows)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database.close()


def _offer(database: sqlite3.Connection) -> None:
    """The capability that they ask for: somebody has offered it once."""
    (agent,) = make_agents(CAPABILITY, "h0", 1, 1)
    (capability,) = agent_spec(agent).capabilities
    values = [TENANT, capability.name, capability.version, 1, 1, capability.SerializeToString()]
    columns = ("tenant", "name", "version", "revision", "created_ms", "capability")
    _insert(database, "catalogue", columns, [values])


async def _create(path: Path) -> None:
    ledger = SqliteLedger(path, "prefill")
    await ledger.open()
    await ledger.close()


def _chunks(count: int) -> Iterator[int]:
    for start in range(0, count, CHUNK):
        yield min(CHUNK, count - start)


def _insert(
    database: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: list[list[Any]]
) -> None:
    marks = ", ".join("?" for _ in columns)
    database.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


def _announce(database: sqlite3.Connection, rows: list[list[Any]], position: int) -> int:
    """One outbox row for each group of contracts; returns the last position."""
    outbox = []
    for start in range(0, len(rows), COMMIT_CONTRACTS):
        events = array("Q")
        for row in rows[start : start + COMMIT_CONTRACTS]:
            for sequence in range(1, EVENTS_OF_CONTRACT + 1):
                events.extend((row[0], sequence))
        position += 1
        outbox.append([position, 0, events.tobytes()])
    _insert(database, "outbox", ("position", "time_ms", "events"), outbox)
    return position


if __name__ == "__main__":
    fill(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        random_ids=sys.argv[3] == "random",
        open_contracts=int(sys.argv[4]) if len(sys.argv) > 4 else 0,
    )
