"""What workflow runs ask: in the ledger, in the inbox, and across restarts of the scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from muster.backends.postgres.database import Database
from muster.backends.postgres.ledger import PostgresLedger
from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.errors import InvalidArgument
from muster.model.ids import IdMaker
from muster.model.ledger import Closing, Row
from muster.scheduler.service import Scheduler
from muster.v1.payload_pb2 import Payload
from muster.v1.question_pb2 import Answer, Question
from muster.wire.times import timestamp_of_seconds
from tests.support.processes import until

RUN = IdMaker().make(7, 1_800_000_000_000)
APPROVE = Question(text="Publish it?", choices=[Payload(json='"yes"'), Payload(json='"no"')])

Told = list[tuple[int, str, Answer | None]]


@pytest.fixture(params=["sqlite", "postgres"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Scheduler]:
    """Makes a scheduler, each time on the same ledger."""
    if request.param == "sqlite":
        return lambda: Scheduler(SqliteLedger(tmp_path / "ledger.db", "s"), "s")
    url = request.getfixturevalue("postgres_url")
    return lambda: Scheduler(PostgresLedger(Database(url), "s"), "s")


@asynccontextmanager
async def running(scheduler: Scheduler) -> AsyncIterator[Told]:
    """The scheduler while it runs, and what it tells runs."""
    told: Told = []
    async with scheduler.run():
        scheduler.questions.on_answered = lambda *said: told.append(said)
        yield told


async def settled(scheduler: Scheduler) -> None:
    scheduler.settle()
    await scheduler.committer.barrier()


def ask(scheduler: Scheduler, name: str = "g1", question: Question = APPROVE) -> None:
    about = ("publish", "approve")
    scheduler.questions.ask(scheduler.clock(), RUN, "default", name, question, about)


def due(seconds: float) -> Question:
    """The same question, with a deadline."""
    question = Question()
    question.CopyFrom(APPROVE)
    question.deadline.CopyFrom(timestamp_of_seconds(seconds))
    return question


def shown(scheduler: Scheduler) -> list[str]:
    return [each.question.id for each in scheduler.questions.inbox.after("default", None)]


async def test_a_gate_waits_in_the_inbox_until_it_is_answered(
    start: Callable[[], Scheduler],
) -> None:
    scheduler = start()
    async with running(scheduler) as told:
        ask(scheduler)
        assert shown(scheduler) == []  # it is not committed
        await settled(scheduler)
        (entry,) = scheduler.questions.inbox.after("default", None)
        assert (entry.is_of_run, entry.workflow, entry.step) == (True, "publish", "approve")
        value = Payload(json='"yes"')
        scheduler.questions.answer(scheduler.clock(), entry, value, "ann")
        # Whoever waits is told before anything is committed, so that its rows go with the answer.
        assert [(run, name, answer and answer.value) for run, name, answer in told] == [
            (RUN, "g1", value)
        ]
        await settled(scheduler)
        assert shown(scheduler) == []
        (stored,) = await scheduler.ledger.questions([RUN])
        assert stored.closing is Closing.ANSWERED
        assert Answer.FromString(stored.answer).principal == "ann"


async def test_open_gates_outlive_the_scheduler_and_closed_ones_do_not_come_back(
    start: Callable[[], Scheduler],
) -> None:
    first = start()
    async with running(first):
        for name in ("g1", "g2", "g3"):
            ask(first, name)
        await settled(first)
        entry = first.questions.find(RUN, "g2")
        assert entry is not None
        first.questions.answer(first.clock(), entry, Payload(json='"no"'), "ann")
        first.questions.withdraw(first.clock(), RUN, "g3")
        first.questions.withdraw(first.clock(), RUN, "g3")
        await settled(first)
    second = start()
    async with running(second) as told:
        assert shown(second) == ["g1"]
        entry = second.questions.find(RUN, "g1")
        assert entry is not None
        second.questions.answer(second.clock(), entry, Payload(json='"yes"'), "bob")
        await settled(second)
        assert [name for _, name, _ in told] == ["g1"]
        closings = {x.question_id: x.closing for x in await second.ledger.questions([RUN])}
        assert closings == {
            "g1": Closing.ANSWERED,
            "g2": Closing.ANSWERED,
            "g3": Closing.WITHDRAWN,
        }


async def test_at_its_deadline_a_gate_takes_its_default_or_times_out_also_after_a_restart(
    start: Callable[[], Scheduler],
) -> None:
    first = start()
    async with running(first):
        question = due(first.clock().wall_ms / 1000)
        ask(first, "nobody", question)
        question.default_answer.json = '"no"'
        ask(first, "default", question)
        await settled(first)
    second = start()
    async with running(second) as told:
        await until(lambda: len(told) == 2, 10, "both are due")
        await settled(second)
        said = {name: answer and answer.value.json for _, name, answer in told}
        assert said == {"nobody": None, "default": '"no"'}
        assert shown(second) == []
        closings = {x.question_id: x.closing for x in await second.ledger.questions([RUN])}
        assert closings == {"nobody": Closing.TIMED_OUT, "default": Closing.ANSWERED}


async def test_a_gate_that_nobody_could_answer_is_not_asked(
    start: Callable[[], Scheduler],
) -> None:
    scheduler = start()
    async with running(scheduler):
        bad = Question(text="?", default_answer=Payload(json="5"))
        with pytest.raises(InvalidArgument, match="default_answer does not fit"):
            ask(scheduler, "g1", bad)
        await settled(scheduler)
        assert await scheduler.ledger.questions([RUN]) == []


async def test_rows_of_the_run_and_its_answer_are_one_transaction(
    start: Callable[[], Scheduler],
) -> None:
    scheduler = start()
    async with running(scheduler):
        ask(scheduler)
        await settled(scheduler)
        seen: list[list[Row]] = []
        scheduler.questions.on_answered = lambda *_: seen.append(
            list(scheduler.committer.batch.segments[-1].answers)
        )
        entry = scheduler.questions.find(RUN, "g1")
        assert entry is not None
        scheduler.questions.answer(scheduler.clock(), entry, Payload(json='"yes"'), "ann")
        assert [row[:2] for row in seen[0]] == [[RUN, "g1"]]
        await settled(scheduler)
