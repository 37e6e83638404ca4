"""A restart finds what is open, however far back, and counts what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.agent import Agent, Ask, Client, connect
from muster.backends.postgres.ledger import PostgresLedger
from muster.backends.sqlite.ledger import SqliteLedger
from muster.model import limits
from muster.model.ids import parse_id, shard_of_id
from muster.model.ledger import Settled
from muster.v1.response_pb2 import ContractState
from tests.support.meshes import Mesh, Start
from tests.support.processes import until

ENDED, OPEN = 40, 8
SUCCEEDED = ContractState.CONTRACT_STATE_SUCCEEDED


def agent(window: int) -> Agent:
    """One that answers, and offers something for which it has no time."""
    made = Agent("a", max_in_flight=window)

    @made.capability("settled.quick")
    async def quick(number: int) -> int:
        return number

    return made


async def succeeded(client: Client) -> int:
    states = (await client.statistics()).states
    return sum(x.contracts for x in states if x.state == SUCCEEDED)


def marks_noted(monkeypatch: pytest.MonkeyPatch) -> dict[int, Settled]:
    """The last mark of each shard, whichever ledger has it."""
    noted: dict[int, Settled] = {}
    for kind in (SqliteLedger, PostgresLedger):
        mark: Any = kind.mark_settled

        async def note(ledger: Any, generations: Any, marks: Any, mark: Any = mark) -> None:
            await mark(ledger, generations, marks)
            noted.update(marks)

        monkeypatch.setattr(kind, "mark_settled", note)
    return noted


def is_named(noted: dict[int, Settled], number: int) -> bool:
    """Whether the contract is open according to a mark that was noted while it was."""
    mark = noted.get(shard_of_id(number), Settled(0))
    return number in mark.open or (len(mark.open) > 0 and number >= mark.before)


def point_to(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in mesh.environment().items():
        monkeypatch.setenv(name, value)


async def test_what_is_open_on_either_side_of_the_marks_goes_on_after_a_restart(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETTLED_MARK_SECONDS", 0.05)
    monkeypatch.setattr(limits, "SETTLED_OPEN_MAX", 1)  # a second one of a shard is the mark
    noted = marks_noted(monkeypatch)
    async with start(tmp_path) as mesh:
        point_to(mesh, monkeypatch)
        async with mesh.host(agent(4)), connect() as client:
            early = [Ask("settled.quick", {"number": number}) for number in range(ENDED)]
            assert await client.gather(early) == list(range(ENDED))
        async with connect() as client:  # nobody is there who would do these
            ids = [
                await (await client.submit("settled.quick", {"number": number})).accepted()
                for number in range(OPEN)
            ]
            numbers = [parse_id(each) for each in ids]
            await until(lambda: all(is_named(noted, each) for each in numbers), 10, "it is noted")

    async with start(tmp_path) as mesh:
        point_to(mesh, monkeypatch)
        async with connect() as client:
            assert await succeeded(client) == ENDED
            async with mesh.host(agent(4)):
                for each in ids:
                    response = await client.wait(each)
                    assert response is not None
                    assert response.state == SUCCEEDED
            assert await succeeded(client) == ENDED + OPEN
