"""How steps ask people: through the inbox that contracts ask through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from muster.scheduler.records import Now
from muster.scheduler.workflows.run import Run
from muster.v1.question_pb2 import Answer, Question


class Gates(Protocol):
    """Who asks people."""

    on_answered: Callable[[int, str, Answer | None], None]

    def find(self, subject_id: int, question_id: str) -> object | None:
        """A question that waits for an answer; None: there is none."""

    def ask(
        self,
        now: Now,
        subject_id: int,
        tenant: str,
        question_id: str,
        question: Question,
        about: tuple[str, str],
    ) -> None:
        """Ask, with what is decided in this turn."""

    def withdraw(self, now: Now, subject_id: int, question_id: str) -> None:
        """Ask no longer."""


def question_id_of(run: Run, step: str) -> str:
    """What a step's question is called; another revision asks another question."""
    return f"{step}.{run.machine.steps[step].revision}"


def step_of_question(question_id: str) -> tuple[str, int]:
    """The step and the revision that a question is about."""
    step, _, revision = question_id.rpartition(".")
    return step, int(revision)
