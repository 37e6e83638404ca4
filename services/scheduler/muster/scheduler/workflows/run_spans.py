"""Runs in traces: a run's span is below the one that it was started in, its steps' below its own.

As spans of contracts, they are made when they are over, and say what the record says.
"""

from __future__ import annotations

from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.run import Run
from muster.telemetry import tracing
from muster.telemetry.context import SpanRef, run_span, traceparent_of
from muster.v1.request_pb2 import TraceContext
from muster.v1.workflow_run_pb2 import RunStarted
from muster.workflow.facts import RunState


def trace_start(scheduler: Scheduler, started: RunStarted) -> None:
    """A run that is being started belongs to the call that runs now, if that has a span."""
    span = tracing.current_span() if scheduler.observer.spans is not None else None
    if span is not None:
        _name(started.trace_context, span)


def trace_within(scheduler: Scheduler, run: Run, context: TraceContext) -> None:
    """Something that a run has done belongs to the run's trace."""
    if run.asking is not None:
        traced = scheduler.observer.spans is not None
        _name(context, _span(run, run.asking) if traced else run.asking)


def trace_end(scheduler: Scheduler, run: Run) -> None:
    """A run has ended, and that is durable."""
    spans = scheduler.observer.spans
    if spans is None or run.asking is None:
        return
    state, failure = run.machine.state, run.failure
    attributes = {
        "muster.run_id": run.name,
        "muster.workflow": run.row.workflow,
        "muster.tenant": run.row.tenant,
        "muster.state": state.name,
        "muster.revision": run.machine.revision,
    }
    code = failure.code if failure is not None else ""
    if code:
        attributes["muster.code"] = code
    spans.run_ended(
        run.row.workflow,
        _span(run, run.asking),
        run.asking,
        from_ms=run.revised_ms or run.row.started_ms,
        to_ms=run.ended_ms,
        attributes=attributes,
        error=code if state is RunState.FAILED else "",
    )


def _span(run: Run, asking: SpanRef) -> SpanRef:
    return run_span(asking, run.name, run.machine.revision)


def _name(context: TraceContext, span: SpanRef) -> None:
    context.traceparent = traceparent_of(span)
    context.tracestate = span.state
