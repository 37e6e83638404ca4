"""Plans and wants as messages, between a scheduler and an engine elsewhere."""

from __future__ import annotations

from muster.v1.engine_pb2 import ControlFlow, FlowKind, FlowRule, FlowStep, RunWant, WantKind
from muster.v1.workflow_run_pb2 import RunState as RunStateMessage
from muster.wire.times import ms_of_timestamp, timestamp_of_ms
from muster.workflow import facts as f
from muster.workflow.facts import RunState, Want
from muster.workflow.plan import Kind, Plan, PlanStep, Rule


def message_of_plan(plan: Plan) -> ControlFlow:
    """A workflow's control flow for the wire."""
    flow = ControlFlow()
    for step in plan.steps.values():
        flow.steps.append(
            FlowStep(
                name=step.name,
                kind=FlowKind.ValueType(int(step.kind)),
                depends_on=step.depends_on,
                conditional=step.conditional,
                concurrency=step.concurrency,
                rule=FlowRule.ValueType(int(step.rule)),
                count=step.count,
                continues=step.continues,
                undoable=step.undoable,
                signal=step.signal,
            )
        )
    return flow


def plan_of_message(flow: ControlFlow) -> Plan:
    """What `message_of_plan` was given."""
    return Plan(
        {
            step.name: PlanStep(
                step.name,
                Kind(step.kind),
                tuple(step.depends_on),
                step.conditional,
                step.concurrency,
                Rule(step.rule),
                step.count,
                step.continues,
                step.undoable,
                step.signal,
            )
            for step in flow.steps
        }
    )


def message_of_want(want: Want) -> RunWant:
    """A want for the wire."""
    match want:
        case f.Begin(step, revision):
            return RunWant(kind=WantKind.WANT_KIND_BEGIN, step=step, revision=revision)
        case f.Do(step, revision, indexes):
            kind = WantKind.WANT_KIND_DO
            return RunWant(kind=kind, step=step, revision=revision, indexes=indexes)
        case f.Stop(step, revision, indexes):
            kind = WantKind.WANT_KIND_STOP
            return RunWant(kind=kind, step=step, revision=revision, indexes=indexes)
        case f.Undo(step, revision):
            return RunWant(kind=WantKind.WANT_KIND_UNDO, step=step, revision=revision)
        case f.Wake(step, revision, at_ms):
            message = RunWant(kind=WantKind.WANT_KIND_WAKE, step=step, revision=revision)
            message.wake_time.CopyFrom(timestamp_of_ms(at_ms))
            return message
        case f.End(state):
            return RunWant(kind=WantKind.WANT_KIND_END, state=RunStateMessage.ValueType(int(state)))


def want_of_message(message: RunWant) -> Want | None:
    """What `message_of_want` was given; None for what no interpreter wants."""
    step, revision, indexes = message.step, message.revision, tuple(message.indexes)
    match message.kind:
        case WantKind.WANT_KIND_BEGIN:
            return f.Begin(step, revision)
        case WantKind.WANT_KIND_DO:
            return f.Do(step, revision, indexes)
        case WantKind.WANT_KIND_STOP:
            return f.Stop(step, revision, indexes)
        case WantKind.WANT_KIND_UNDO:
            return f.Undo(step, revision)
        case WantKind.WANT_KIND_WAKE:
            return f.Wake(step, revision, ms_of_timestamp(message.wake_time))
        case WantKind.WANT_KIND_END if message.state:
            return f.End(RunState(message.state))
    return None
