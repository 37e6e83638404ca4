"""A scheduler whose PostgreSQL goes away and comes back: it waits, and loses nothing."""

from __future__ import annotations

import asyncio

import pytest

from muster.backends.postgres.database import Database
from muster.backends.postgres.ledger import PostgresLedger
from muster.model.errors import MusterError
from muster.scheduler.entries import make_entry
from muster.scheduler.service import Scheduler
from muster.scheduler.streams import OneAnswer
from muster.servers.server import ServerProcess
from muster.v1.capability_pb2 import Capability
from muster.v1.request_pb2 import Request
from tests.support.processes import until

NOTICED_SECONDS = 3.0
BACK_SECONDS = 10.0


@pytest.mark.timeout(120)
async def test_a_scheduler_outlives_its_database(postgres_process: ServerProcess) -> None:
    ledger = PostgresLedger(Database(postgres_process.server.url), "s")
    scheduler = Scheduler(ledger, "s")
    numbers = iter(range(1000))

    def submit() -> OneAnswer:
        answer = OneAnswer()
        request = Request(request_id=f"r{next(numbers)}")
        request.capability.name = "echo"
        scheduler.submit(scheduler.clock(), "default", "local", request, answer)
        scheduler.settle()
        return answer

    async with scheduler.run():
        capability = Capability(name="echo", version="1.0.0")
        scheduler.add_to_catalogue(make_entry("default", capability, 1, 0))
        answers = [submit()]
        await answers[0].accepted
        await postgres_process.kill()
        answers.append(submit())
        await until(lambda: scheduler.committer.failing, NOTICED_SECONDS, "it is noticed")
        with pytest.raises(MusterError, match="cannot write") as caught:
            submit()
        assert caught.value.reason == "LEDGER_UNAVAILABLE"
        unknown = OneAnswer()
        scheduler.listen(12345, unknown)  # asks the ledger, which does not answer
        assert not answers[1].accepted.done()
        await postgres_process.start()
        async with asyncio.timeout(BACK_SECONDS):
            accepted = await asyncio.gather(*(each.accepted for each in answers))
        answers.append(submit())
        await answers[2].accepted
        await until(lambda: not scheduler._look_ups, BACK_SECONDS, "the question was asked again")
        assert len({*accepted, await answers[2].accepted}) == 3
    later = PostgresLedger(Database(postgres_process.server.url), "later")
    opening = await later.open()
    assert [each.request_id for each in opening.open_contracts] == ["r0", "r1", "r3"]
    assert opening.position >= 3
    await later.close()
