"""What a person was asked, as it is read from a ledger, for every SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from muster.backends.sql.schema import answers, questions
from muster.model.ledger import Closing, StoredQuestion

CHUNK = 500  # ids per IN list

_COLUMNS = (*questions.c, answers.c.closing, answers.c.answered_ms, answers.c.answer)


def of_subjects(connection: Connection, subjects: Sequence[int]) -> list[StoredQuestion]:
    """Every question of these contracts and runs, those of each in the order of asking."""
    found: list[StoredQuestion] = []
    for start in range(0, len(subjects), CHUNK):
        wanted = questions.c.subject_id.in_(subjects[start : start + CHUNK])
        found.extend(_read(connection, _with_answers().where(wanted)))
    return sorted(found, key=attrgetter("subject_id", "epoch", "asked_ms"))


def open_of_runs(connection: Connection, *conditions: ColumnElement[bool]) -> list[StoredQuestion]:
    """Questions of runs that nobody has answered."""
    waiting = _with_answers().where(
        questions.c.epoch == 0, answers.c.closing.is_(None), *conditions
    )
    return _read(connection, waiting)


def _with_answers() -> Select[Any]:
    same = (questions.c.subject_id == answers.c.subject_id) & (
        questions.c.question_id == answers.c.question_id
    )
    return select(*_COLUMNS).select_from(questions.outerjoin(answers, same))


def _read(connection: Connection, statement: Select[Any]) -> list[StoredQuestion]:
    found = []
    for *asked, closing, answered_ms, answer in connection.execute(statement):
        question = StoredQuestion(*asked)
        if closing:
            closed = Closing(closing)
            question = replace(question, closing=closed, answered_ms=answered_ms, answer=answer)
        found.append(question)
    return found
