"""How the questions of steps are called in the inbox that contracts ask through as well."""

from __future__ import annotations

from muster.scheduler.workflows.run import Run


def question_id_of(run: Run, step: str) -> str:
    """What a step's question is called; another revision asks another question."""
    return f"{step}.{run.machine.steps[step].revision}"


def step_of_question(question_id: str) -> tuple[str, int]:
    """The step and the revision that a question is about."""
    step, _, revision = question_id.rpartition(".")
    return step, int(revision)
