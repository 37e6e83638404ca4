"""Rows and transactions for tests of ledgers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from muster.model.ids import ID_EPOCH_MS, first_id_at
from muster.model.ledger import CONTRACT_COLUMNS, ITEM_OUTPUT, Batch, Closing, Row
from muster.model.states import Author, ContractState, Outcome

T0 = ID_EPOCH_MS + 1_000
MESH, AGENT = int(Author.MESH), int(Author.AGENT)
SUCCEEDED, CANCELLED = int(ContractState.SUCCEEDED), int(ContractState.CANCELLED)


def id_at(second: int, count: int = 0) -> int:
    """A contract id of so many seconds after T0."""
    return first_id_at(T0 + second * 1000) + count


ONE, TWO, THREE, FOUR, FIVE = (id_at(second) for second in range(1, 6))


def contract(number: int = ONE, **changes: Any) -> Row:
    """A contract that waits, unless `epoch` says that it was leased in the same commit."""
    values: dict[str, Any] = {
        "id": number,
        "tenant": "acme",
        "principal": "ann",
        "request_id": f"r{number}",
        "body_sha256": b"digest",
        "capability": "echo",
        "conversation": "",
        "parent_id": 0,
        "root_id": number,
        "depth": 0,
        "actor": "",
        "accepted_ms": T0,
        "deadline_ms": T0 + 60_000,
        "request": b"request",
        "epoch": 0,
        "agent": "",
        "agent_kind": "",
        "host": "",
    }
    assert tuple(values) == CONTRACT_COLUMNS
    return list((values | changes).values())


def leased(number: int = ONE, epoch: int = 1, **changes: Any) -> Row:
    """A contract that was placed at once."""
    lease = {"epoch": epoch, "agent": "a1", "agent_kind": "k", "host": "h1"}
    return contract(number, **(lease | changes))


def lease(epoch: int, number: int = ONE) -> Row:
    """A later lease."""
    return [number, epoch, f"a{epoch}", "k", "h1", T0 + epoch]


def ending(epoch: int, number: int = ONE, outcome: Outcome = Outcome.LOST) -> Row:
    """An attempt that ended without ending its contract."""
    return [number, epoch, int(outcome), T0 + epoch, T0 + epoch + 1, "AGENT_LOST", b"failure"]


def response(epoch: int, number: int = ONE, author: int = AGENT, word: bytes = b"answer") -> Row:
    """The end, by an agent or by the mesh."""
    state, outcome = (
        (SUCCEEDED, Outcome.SUCCEEDED) if author == AGENT else (CANCELLED, Outcome.CANCELLED)
    )
    return [number, epoch, state, author, int(outcome), T0 + epoch, T0 + 99, "", word]


def item(index: int, kind: int = ITEM_OUTPUT, epoch: int = 1, number: int = ONE) -> Row:
    """A stream item."""
    return [number, epoch, index, kind, f"item {index}".encode()]


def question(epoch: int, number: int = ONE, name: str = "q1") -> Row:
    """What an attempt, or with epoch 0 a run, asks a person."""
    return [number, name, "acme", epoch, T0 + epoch + 1, T0 + 50, "", "", b"question"]


def answer(number: int = ONE, name: str = "q1", word: bytes = b"word") -> Row:
    """A person's answer."""
    return [number, name, int(Closing.ANSWERED), T0 + 40, word]


def batch(**kinds: Iterable[Any]) -> Batch:
    """A transaction of one segment; `events` are (contract id, sequence)."""
    made = Batch(empty=False)
    for kind, rows in kinds.items():
        if kind == "events":
            made.events.extend(number for row in rows for number in row)
        else:
            setattr(made.segments[0], kind, list(rows))
    return made
