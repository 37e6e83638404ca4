"""A PostgreSQL ledger whose server goes away, at the worst of times, and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import psutil
import pytest

from muster.backends.ledger_base import LedgerForeign, LedgerFull
from muster.backends.postgres.database import Database
from muster.backends.postgres.ledger import PostgresLedger
from muster.model.errors import MusterError
from muster.model.ledger import Batch, CommitResult
from muster.model.states import ContractState
from muster.servers.server import ServerProcess
from tests.conformance.records import PostgresRecord, waiting_in
from tests.conformance.relay import Relay, relay
from tests.support.ledger_rows import ONE, THREE, TWO, batch, contract, id_at, leased, response
from tests.support.processes import until

NOTICED_SECONDS = 3.0
BACK_SECONDS = 10.0

pytestmark = pytest.mark.timeout(120)


def second_batch() -> Batch:
    """Follows a batch with ONE, leased at epoch 1."""
    return batch(
        contracts=[leased(TWO, 2), contract(THREE)],
        responses=[response(1, ONE)],
        events=[(TWO, 1), (TWO, 2), (THREE, 1), (ONE, 3)],
    )


async def check_once(ledger: PostgresLedger, result: CommitResult) -> None:
    """The second batch is there, once."""
    assert not result.refused
    states = [each.state for each in await ledger.load([ONE, TWO, THREE])]
    assert states == [ContractState.SUCCEEDED, ContractState.LEASED, ContractState.QUEUED]
    first, second = await ledger.history(0, 10)
    assert first.events == [(ONE, 1), (ONE, 2)]
    assert second == (result.position, [(TWO, 1), (TWO, 2), (THREE, 1), (ONE, 3)])
    third = await ledger.commit(batch(contracts=[contract(id_at(9))], events=[(id_at(9), 1)]))
    assert third.position == result.position + 1


async def persist(ledger: PostgresLedger, made: Batch, seconds: float) -> CommitResult:
    """Commits as the scheduler does: the same batch, until it is taken."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await ledger.commit(made)
            except LedgerFull:
                await asyncio.sleep(0.05)


@pytest.fixture
async def relayed(postgres_url: str) -> AsyncIterator[tuple[PostgresLedger, Relay]]:
    """A ledger with ONE in it, and the wire to its server."""
    async with relay(postgres_url) as (wire, url):
        ledger = PostgresLedger(Database(url), "owner")
        await ledger.open()
        await ledger.commit(batch(contracts=[leased(ONE)], events=[(ONE, 1), (ONE, 2)]))
        yield ledger, wire
        await ledger.close()


async def is_there(record: PostgresRecord, number: int) -> bool:
    async with record.admin() as admin:
        found = await admin.fetchval("SELECT count(*) FROM contracts WHERE id = $1", number)
        return bool(found)


async def test_a_commit_whose_answer_was_lost_is_found_out_and_there_once(
    relayed: tuple[PostgresLedger, Relay], postgres_url: str
) -> None:
    ledger, wire = relayed
    made, record = second_batch(), PostgresRecord(postgres_url)

    async def lost() -> None:
        with pytest.raises(LedgerFull):
            await ledger.commit(made)

    wire.lose_answers = True
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lost())
        await until(lambda: is_there(record, TWO), 5, "the commit takes effect")
        wire.cut()
    wire.lose_answers = False
    await check_once(ledger, await ledger.commit(made))


async def test_a_commit_that_never_arrived_is_there_once(
    relayed: tuple[PostgresLedger, Relay], postgres_url: str
) -> None:
    ledger, wire = relayed
    made = second_batch()
    wire.lose_requests = True
    started = time.monotonic()
    with pytest.raises(LedgerFull):
        await ledger.commit(made)
    assert time.monotonic() - started < NOTICED_SECONDS
    assert not await is_there(PostgresRecord(postgres_url), TWO)
    wire.lose_requests = False
    await check_once(ledger, await ledger.commit(made))


async def test_a_lost_session_that_still_commits_is_waited_for(
    relayed: tuple[PostgresLedger, Relay], postgres_url: str
) -> None:
    ledger, wire = relayed
    made, record = second_batch(), PostgresRecord(postgres_url)

    async def waiting(count: int) -> bool:
        async with record.admin() as admin:
            return await waiting_in(admin) == count

    async def lost() -> None:
        with pytest.raises(LedgerFull):
            await ledger.commit(made)

    async with record.admin() as blocker:
        blocking = blocker.transaction()
        await blocking.start()
        await blocker.execute("LOCK TABLE shard_outbox IN EXCLUSIVE MODE")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lost())
            await until(lambda: waiting(1), 2, "the commit is under way")
            wire.cut()
        async with asyncio.TaskGroup() as tasks:
            again = tasks.create_task(ledger.commit(made))
            await until(lambda: waiting(2), 2, "the second one waits for the first")
            await blocking.rollback()
    await check_once(ledger, again.result())


# --- the server itself ----------------------------------------------------------------------------


def processes_of(server: ServerProcess) -> list[psutil.Process]:
    """The postmaster and its children, which are in sessions of their own."""
    assert server.pid is not None
    postmaster = psutil.Process(server.pid)
    return [postmaster, *postmaster.children(recursive=True)]


async def kill_all(server: ServerProcess) -> None:
    """As the end of the machine: no process says goodbye."""
    processes = processes_of(server)
    for each in processes:
        if each.is_running():
            os.kill(each.pid, signal.SIGKILL)
    await server.kill()
    await asyncio.to_thread(psutil.wait_procs, processes[1:], 5)


@pytest.fixture
async def opened(postgres_process: ServerProcess) -> AsyncIterator[PostgresLedger]:
    """A ledger with ONE in it, on a server of its own."""
    ledger = PostgresLedger(Database(postgres_process.server.url), "owner")
    await ledger.open()
    await ledger.commit(batch(contracts=[leased(ONE)], events=[(ONE, 1), (ONE, 2)]))
    yield ledger
    await ledger.close()


async def test_a_server_killed_between_commit_and_answer_has_the_batch_once(
    postgres_process: ServerProcess,
) -> None:
    url = postgres_process.server.url
    async with relay(url) as (wire, relayed_url):
        ledger = PostgresLedger(Database(relayed_url), "owner")
        await ledger.open()
        await ledger.commit(batch(contracts=[leased(ONE)], events=[(ONE, 1), (ONE, 2)]))
        made = second_batch()

        async def lost() -> None:
            with pytest.raises(LedgerFull):
                await ledger.commit(made)
            with pytest.raises(LedgerFull):
                await ledger.commit(made)

        wire.lose_answers = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lost())
            await until(lambda: is_there(PostgresRecord(url), TWO), 5, "it takes effect")
            await kill_all(postgres_process)
        wire.lose_answers = False
        await postgres_process.start()
        await check_once(ledger, await persist(ledger, made, BACK_SECONDS))
        await ledger.close()


async def test_kills_in_the_middle_of_commits_lose_nothing_and_repeat_nothing(
    postgres_process: ServerProcess, opened: PostgresLedger
) -> None:
    kills, after = 3, asyncio.Event()
    acknowledged: list[tuple[int, int]] = []

    async def write() -> None:
        number = 0
        while not after.is_set():
            number += 1
            ids = [id_at(10 + number, n) for n in range(20)]
            made = batch(
                contracts=[leased(each) for each in ids], events=[(each, 1) for each in ids]
            )
            result = await persist(opened, made, 60)
            assert not result.refused
            acknowledged.extend((result.position, each) for each in ids)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for kill in range(1, kills + 1):
            await until(lambda at=kill: len(acknowledged) > at * 1000, 30, "commits go on")  # type: ignore[misc]
            await kill_all(postgres_process)
            await postgres_process.start()
        after.set()
    commits = await opened.history(1, 1_000_000)
    assert [(each.position, pair[0]) for each in commits for pair in each.events] == acknowledged
    ids = [number for _, number in acknowledged]
    assert [each.id for each in await opened.load(ids)] == ids


async def test_a_server_that_hangs_is_noticed_and_waited_for(
    postgres_process: ServerProcess, opened: PostgresLedger
) -> None:
    processes = processes_of(postgres_process)
    made = second_batch()
    for each in processes:
        each.suspend()
    try:
        started = time.monotonic()
        with pytest.raises(LedgerFull):
            await opened.commit(made)
        assert time.monotonic() - started < NOTICED_SECONDS
        started = time.monotonic()
        with pytest.raises(LedgerFull):
            await opened.renew()
        assert time.monotonic() - started < NOTICED_SECONDS
    finally:
        for each in processes:
            each.resume()
    await check_once(opened, await persist(opened, made, BACK_SECONDS))


async def test_reads_say_to_come_again_while_the_server_is_away(
    postgres_process: ServerProcess, opened: PostgresLedger
) -> None:
    await opened.load([ONE])
    await kill_all(postgres_process)
    for read in (opened.load([ONE]), opened.find(("acme", "ann", "r")), opened.history(0, 1)):
        with pytest.raises(MusterError, match="try again later") as caught:
            await read
        assert caught.value.reason == "LEDGER_UNAVAILABLE"
    await postgres_process.start()
    assert [each.id for each in await opened.load([ONE])] == [ONE]


# --- servers that will not do ---------------------------------------------------------------------


async def test_a_server_that_does_not_sync_is_refused(postgres_process: ServerProcess) -> None:
    server = postgres_process.server
    await postgres_process.stop()
    async with ServerProcess(replace(server, words=(*server.words, "-c", "fsync=off"))):
        ledger = PostgresLedger(Database(server.url), "owner")
        with pytest.raises(LedgerForeign, match="fsync=off"):
            await ledger.open()
        await ledger.close()


@pytest.mark.parametrize("wrong", ["password", "database"])
async def test_what_keeps_it_out_is_told_without_the_password(
    postgres_url: str, wrong: str
) -> None:
    parts = urlsplit(postgres_url)
    password = parts.password
    assert password is not None
    url = postgres_url.replace(password, "secret") if wrong == "password" else f"{postgres_url}0"
    ledger = PostgresLedger(Database(url), "owner")
    with pytest.raises(LedgerForeign, match="MUSTER_LEDGER") as caught:
        await ledger.open()
    await ledger.close()
    for word in ("secret", password):
        assert word not in str(caught.value)
    assert parts.path in str(caught.value)
