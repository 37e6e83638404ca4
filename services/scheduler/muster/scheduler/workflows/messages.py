"""Runs as messages for the wire."""

from __future__ import annotations

from muster.model import limits
from muster.model.ids import format_id
from muster.scheduler.workflows.run import Run, RunRow
from muster.v1.workflow_pb2 import Step
from muster.v1.workflow_run_pb2 import EngineKind, RunState, StepRun, StepState, WorkflowRun
from muster.wire.times import timestamp_of_ms
from muster.workflow.facts import StepState as State
from muster.workflow.steps import ENDED


def action_of(step: Step) -> str:
    """What a step does, for people."""
    match step.WhichOneof("action"):
        case "capability":
            version = step.capability.version
            return step.capability.name + (f"@{version}" if version else "")
        case "workflow":
            number = step.workflow.version
            return step.workflow.name + (f"@{number}" if number else "")
        case "gate":
            return "gate"
    return "wait"


def run_of_row(row: RunRow) -> WorkflowRun:
    """What a run was started with."""
    run = WorkflowRun(
        id=format_id(row.id),
        workflow=row.workflow,
        version=row.version,
        engine=EngineKind.ValueType(row.engine),
        tenant=row.tenant,
        principal=row.principal,
        start_id=row.start_id,
        conversation_id=row.conversation,
        start_time=timestamp_of_ms(row.started_ms),
        parent_step=row.parent_step,
        forked_step=row.forked_step,
    )
    if row.parent_id:
        run.parent_id = format_id(row.parent_id)
    if row.forked_from:
        run.forked_from = format_id(row.forked_from)
    return run


def run_of(run: Run, *, whole: bool, outputs: bool = False) -> WorkflowRun:
    """A run; `whole` with its input, output and steps, `outputs` with those of each item."""
    machine = run.machine
    message = run_of_row(run.row)
    message.state = RunState.ValueType(int(machine.state))
    message.sequence = machine.sequence
    message.revision = machine.revision
    message.paused = machine.paused
    message.deadline.CopyFrom(timestamp_of_ms(machine.deadline_ms))
    if run.ended_ms:
        message.end_time.CopyFrom(timestamp_of_ms(run.ended_ms))
    if run.failure is not None:
        message.failure.CopyFrom(run.failure)
    if whole:
        message.input.CopyFrom(run.input)
        if run.output is not None:
            message.output.CopyFrom(run.output)
        for step in run.version.workflow.steps:
            _add_step(message.steps.add(), run, step, outputs=outputs)
    return message


def _add_step(message: StepRun, run: Run, definition: Step, *, outputs: bool) -> None:
    name = definition.name
    step = run.machine.steps[name]
    message.name = name
    message.state = _state(step.state)
    message.items_total = step.items
    message.items_succeeded = step.successes
    message.items_failed = step.failures
    message.revision = step.revision
    message.compensated = step.undone
    message.depends_on.extend(definition.depends_on)
    message.action = action_of(definition)
    if step.begun_ms:
        message.start_time.CopyFrom(timestamp_of_ms(step.begun_ms))
    if step.ended_ms:
        message.end_time.CopyFrom(timestamp_of_ms(step.ended_ms))
    if step.state is State.FAILED and name in run.failures:
        message.failure.CopyFrom(run.failures[name])
    for index in range(min(step.items, limits.RUN_ITEMS_TOLD_MAX)):
        item = run.items.get((name, index))
        told = message.items.add(index=index)
        ended = step.ended.get(index)
        if ended is not None:
            told.state = _state(ended)
        elif index in step.open:
            waits = step.state is State.WAITING
            told.state = _state(State.WAITING if waits else State.RUNNING)
        else:
            told.state = _state(State.CANCELLED if step.state in ENDED else State.PENDING)
        if item is None:
            continue
        if item.contract_id:
            told.contract_id = format_id(item.contract_id)
        if item.run_id:
            told.run_id = format_id(item.run_id)
        if item.begun_ms:
            told.start_time.CopyFrom(timestamp_of_ms(item.begun_ms))
        if item.ended_ms:
            told.end_time.CopyFrom(timestamp_of_ms(item.ended_ms))
        if item.failure is not None:
            told.failure.CopyFrom(item.failure)
        if outputs and item.output is not None:
            told.output.CopyFrom(item.output)


def _state(state: State) -> StepState.ValueType:
    return StepState.ValueType(int(state))
