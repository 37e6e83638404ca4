"""Records of runs: what the wire said, as it is written down."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from muster.v1.contract_pb2 import Contract
from muster.v1.response_pb2 import ContractState, ResponseAuthor
from muster.v1.workflow_pb2 import Step
from muster.v1.workflow_run_pb2 import (
    EngineKind,
    ItemEnded,
    RunEvent,
    RunState,
    StepItem,
    StepRun,
    StepState,
    WorkflowRun,
)
from tests.support.history import records_runs as w


def entry_of(event: RunEvent, watch: str) -> w.RunEntry:
    """An entry that a watch showed."""
    kind = event.WhichOneof("kind") or ""
    made = w.RunEntry(
        event.run_id, event.sequence, kind, watch, digest_of(event), seconds_of(event.time)
    )
    inner = getattr(event, kind)
    for name in ("step", "revision", "index", "contract_id", "principal"):
        if hasattr(inner, name):
            setattr(made, name, getattr(inner, name))
    if hasattr(inner, "failure"):
        made.code = inner.failure.code
    if isinstance(inner, ItemEnded):
        made.undo, made.child_id = inner.compensation, inner.run_id
        made.state = _short(StepState.Name(inner.state))
    elif kind == "ended":
        made.state = RunState.Name(inner.state).removeprefix("RUN_STATE_")
    elif kind == "begun":
        made.due = seconds_of(inner.wake_time)
    return made


def shown_of(run: WorkflowRun, outcome: Any) -> w.RunShown:
    """A run as GetRun gave it, and what it came to."""
    return w.RunShown(
        run.id,
        run.start_id,
        run.workflow,
        RunState.Name(run.state).removeprefix("RUN_STATE_"),
        run.revision,
        run.sequence,
        run.parent_id,
        run.parent_step,
        run.forked_from,
        run.failure.code,
        digest_of_value(outcome),
        seconds_of(run.start_time),
        seconds_of(run.end_time),
        EngineKind.Name(run.engine).removeprefix("ENGINE_KIND_"),
    )


def step_of(run_id: str, step: StepRun, defined: Step) -> w.StepShown:
    """A step as GetRun gave it, and as it is defined."""
    return w.StepShown(
        run_id,
        step.name,
        _short(StepState.Name(step.state)),
        step.revision,
        list(step.depends_on),
        seconds_of(step.start_time),
        seconds_of(step.end_time),
        not defined.HasField("fan_in"),
        defined.HasField("compensate"),
    )


def item_of(run_id: str, step: str, item: StepItem) -> w.ItemShown:
    """An item as GetRun gave it."""
    state = _short(StepState.Name(item.state))
    shown = (item.contract_id, item.run_id, digest_of(item.output))
    return w.ItemShown(run_id, step, item.index, state, *shown)


def contract_of(contract: Contract) -> w.StepContract:
    """A contract of a run as GetContract gave it."""
    labels, response = contract.request.labels, contract.response
    author = ResponseAuthor.Name(response.author).removeprefix("RESPONSE_AUTHOR_")
    return w.StepContract(
        contract.id,
        labels["muster.run"],
        labels["muster.step"],
        contract.request.request_id,
        ContractState.Name(contract.state).removeprefix("CONTRACT_STATE_"),
        author if contract.HasField("response") else "",
        seconds_of(response.end_time),
        response.failure.code,
        digest_of(response.payload),
    )


def digest_of(message: Message) -> str:
    """What stands for a message; nothing for an empty one."""
    raw = message.SerializeToString(deterministic=True)
    return hashlib.blake2b(raw, digest_size=8).hexdigest() if raw else ""


def digest_of_value(value: Any) -> str:
    """What stands for a JSON value."""
    raw = json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def seconds_of(time: Timestamp) -> float:
    """Unix seconds; 0 for a time that is absent."""
    return time.ToNanoseconds() / 1e9


def _short(name: str) -> str:
    return name.removeprefix("STEP_STATE_")
