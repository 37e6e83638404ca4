"""Entries of journals, as the facts that the interpreter folds."""

from __future__ import annotations

from muster.v1.workflow_run_pb2 import ItemEnded, RunEvent, StepBegun
from muster.wire.times import ms_of_timestamp
from muster.workflow import facts as f
from muster.workflow.facts import Fact, RunState, StepState


def fact_of(event: RunEvent) -> Fact:
    """What the interpreter is to know of an entry."""
    kind = event.WhichOneof("kind")
    match kind:
        case "started":
            kept = tuple(
                f.Kept(_begun(each.begun), tuple(_item(item) for item in each.items))
                for each in event.started.kept
            )
            return f.Started(kept, ms_of_timestamp(event.started.deadline))
        case "begun":
            return _begun(event.begun)
        case "item_ended":
            return _item(event.item_ended)
        case "woken":
            return f.Woken(event.woken.step, event.woken.revision)
        case "signalled":
            return f.Signalled(event.signalled.name)
        case "paused":
            return f.Paused()
        case "resumed":
            return f.Resumed()
        case "stopped":
            return f.Stopped(cancelled=event.stopped.failure.code != "RUN_TIMEOUT")
        case "retried":
            retried = event.retried
            return f.Retried(retried.step, retried.revision, ms_of_timestamp(retried.deadline))
        case "ended":
            return f.Ended(RunState(event.ended.state))
    message = f"entry {event.sequence} of run {event.run_id} is of a kind that is not known here"
    raise ValueError(message)


def _begun(begun: StepBegun) -> f.Begun:
    return f.Begun(
        begun.step,
        begun.revision,
        begun.items,
        begun.skipped,
        begun.HasField("failure"),
        ms_of_timestamp(begun.wake_time),
    )


def _item(item: ItemEnded) -> f.ItemEnded:
    state = StepState(item.state)
    return f.ItemEnded(item.step, item.revision, item.index, state, item.compensation)
