"""Steps that ask people, through the inbox that contracts ask through as well."""

from __future__ import annotations

from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.run import Run
from muster.scheduler.workflows.runs import Runs
from muster.v1.question_pb2 import Answer, Question
from muster.v1.workflow_run_pb2 import STEP_STATE_FAILED, STEP_STATE_SUCCEEDED, ItemEnded
from muster.wire.times import ms_of_duration, timestamp_of_ms


def question_id_of(run: Run, step: str) -> str:
    """What a step's question is called; another revision asks another question."""
    return f"{step}.{run.machine.steps[step].revision}"


def step_of_question(question_id: str) -> tuple[str, int]:
    """The step and the revision that a question is about."""
    step, _, revision = question_id.rpartition(".")
    return step, int(revision)


def ask(scheduler: Scheduler, run: Run, name: str, question: Question) -> None:
    """Ask what a step asks, with what is decided in this turn. Raises `InvalidArgument` where
    nobody could answer."""
    gate = run.version.steps[name].gate
    now = scheduler.clock()
    until_ms = run.deadline_ms
    if gate.HasField("deadline"):
        until_ms = min(until_ms, now.wall_ms + ms_of_duration(gate.deadline))
    question.deadline.CopyFrom(timestamp_of_ms(until_ms))
    about = (run.row.workflow, name)
    question_id = question_id_of(run, name)
    scheduler.questions.ask(now, run.id, run.row.tenant, question_id, question, about)


def answered(runs: Runs, run_id: int, question_id: str, answer: Answer | None) -> None:
    """A question was answered, or, with None, nobody did in time."""
    run = runs.open.get(run_id)
    if run is None:
        return
    name, revision = step_of_question(question_id)
    ended = ItemEnded(step=name, revision=revision)
    if answer is None:
        ended.state = STEP_STATE_FAILED
        ended.failure.code = "INPUT_TIMEOUT"
        ended.failure.message = "nobody answered in time"
    else:
        ended.state = STEP_STATE_SUCCEEDED
        ended.output.CopyFrom(answer.value)
        ended.principal = answer.principal
    runs.item_ended(run, ended)
