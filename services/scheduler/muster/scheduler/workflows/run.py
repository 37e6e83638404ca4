"""One run in memory: what its journal says, with the data that the interpreter does not need."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from muster.model.ids import format_id, shard_of_id
from muster.scheduler.workflows.versions import Version
from muster.telemetry.context import SpanRef, sampled
from muster.v1.payload_pb2 import Payload
from muster.v1.response_pb2 import Failure
from muster.v1.workflow_run_pb2 import (
    STEP_STATE_FAILED,
    STEP_STATE_SUCCEEDED,
    ItemEnded,
    RunEvent,
    StepBegun,
)
from muster.wire.jsontext import json_value
from muster.wire.times import ms_of_timestamp, timestamp_of_ms
from muster.workflow.facts import StepState, Want
from muster.workflow.journal import fact_of
from muster.workflow.machine import Machine
from muster.workflow.scope import Scope, StepValue, Unread
from muster.workflow.steps import ENDED, StepRun

StartScope = tuple[str, str, str]  # of a run: its tenant, its principal and its start_id


class RunRow(NamedTuple):
    """What a run was started with: a row of the table workflow_runs."""

    id: int
    tenant: str
    principal: str
    start_id: str
    body_sha256: bytes
    workflow: str
    version: int
    engine: int  # a muster.v1.EngineKind
    conversation: str
    parent_id: int
    parent_step: str
    parent_item: int
    parent_revision: int
    forked_from: int
    forked_step: str
    started_ms: int
    input: bytes

    @property
    def scope(self) -> StartScope:
        """What makes a second start the same run."""
        return (self.tenant, self.principal, self.start_id)


@dataclass(slots=True)
class Item:
    """What is known of one item of a step."""

    contract_id: int = 0
    run_id: int = 0
    begun_ms: int = 0
    ended_ms: int = 0
    output: Payload | None = None
    failure: Failure | None = None
    value: Any = None  # of the output, once somebody has read it
    is_read: bool = False

    def read(self, value: Any) -> None:
        """Somebody has read the blob that the output is."""
        self.value, self.is_read = value, True

    def data(self) -> Any:
        """The output as a JSON value, or unread."""
        if not self.is_read and self.output is not None:
            kind = self.output.WhichOneof("content")
            if kind in (None, "json"):
                self.value, self.is_read = json_value(self.output.json) if kind else None, True
            else:
                return Unread(self.output)
        return self.value


RUN_BYTES = 10_000  # of a run without its journal, about

ItemKey = tuple[str, int]  # step and index; -1 is what undoes the step
UNDO = -1


@dataclass(slots=True, eq=False)
class Run:
    """A run, its machine, and what its steps gave back."""

    row: RunRow
    version: Version
    generation: int = 0  # of its shard, when it came into memory; 0: nobody works on it
    is_returning: bool = False  # it has come from the ledger, and its items are being looked for
    machine: Machine = field(init=False)
    name: str = field(init=False)
    input: Payload = field(init=False)
    items: dict[ItemKey, Item] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)  # of steps
    output: Payload | None = None
    failure: Failure | None = None  # of the run
    asking: SpanRef | None = None  # the span that it was started in
    changed_ms: int = 0
    revised_ms: int = 0  # when it was retried; 0: never
    ended_ms: int = 0
    bytes: int = RUN_BYTES  # that it takes in memory, about
    lists: dict[str, Sequence[Any]] = field(default_factory=dict)  # what for_each amounts to
    done: set[ItemKey] = field(default_factory=set)  # that are being done, or have been
    begun: set[str] = field(default_factory=set)  # steps that are about to begin
    prepared: dict[ItemKey, Payload] = field(default_factory=dict)  # inputs that became blobs
    _signals: dict[int, Payload] = field(default_factory=dict)
    _signal_ids: dict[str, int] = field(default_factory=dict)
    _facts: dict[str, Any] = field(default_factory=dict)
    _input_value: Any = None
    _input_read: bool = False

    def __post_init__(self) -> None:
        self.machine = Machine(self.version.definition.plan)
        self.name = format_id(self.row.id)
        self.input = Payload.FromString(self.row.input)

    @property
    def id(self) -> int:
        """Its number."""
        return self.row.id

    @property
    def shard(self) -> int:
        """The shard that it belongs to, with all its contracts."""
        return shard_of_id(self.row.id)

    @property
    def deadline_ms(self) -> int:
        """When its time is over."""
        return self.machine.deadline_ms

    # --- the journal ------------------------------------------------------------------------------

    def apply(self, event: RunEvent) -> list[Want]:
        """Take the next entry; returns what is newly wanted."""
        at_ms = ms_of_timestamp(event.time)
        self.changed_ms = at_ms
        kind = event.WhichOneof("kind")
        counted = kind == "item_ended" and self._counts(event.item_ended)
        wants = self.machine.apply(fact_of(event), at_ms)
        match kind:
            case "item_ended":
                self._item_ended(event.item_ended, at_ms, counted=counted)
            case "begun":
                self._step_begun(event.begun)
            case "started":
                if event.started.HasField("trace_context"):
                    context = event.started.trace_context
                    self.asking = sampled(context.traceparent, context.tracestate)
                for each in event.started.kept:
                    for item in each.items:
                        self._item_ended(item, at_ms, counted=True)
            case "signalled":
                self._signals[event.sequence] = event.signalled.payload
                if event.signalled.signal_id:
                    self._signal_ids[event.signalled.signal_id] = event.sequence
                self._take_signals(at_ms)
            case "woken":
                self._woken(event.woken.step, at_ms)
            case "stopped":
                self.failure = event.stopped.failure
            case "retried":
                self.revised_ms = at_ms
                self._retried()
            case "ended":
                self.ended_ms = at_ms
                self.output = event.ended.output if event.ended.HasField("output") else None
                self.failure = event.ended.failure if event.ended.HasField("failure") else None
        return wants

    def signal_sequence(self, signal_id: str) -> int:
        """The entry of a signal that was sent before by this id; 0: there is none."""
        return self._signal_ids.get(signal_id, 0) if signal_id else 0

    @property
    def signals_waiting(self) -> int:
        """Signals that no step has taken."""
        return len(self._signals)

    def item(self, key: ItemKey) -> Item:
        """What is known of an item."""
        found = self.items.get(key)
        if found is None:
            found = self.items[key] = Item()
        return found

    def _counts(self, ended: ItemEnded) -> bool:
        step = self.machine.steps[ended.step]
        return (
            ended.revision == step.revision
            and ended.index in step.open
            and step.state not in ENDED
            and not ended.compensation
        )

    def _item_ended(self, ended: ItemEnded, at_ms: int, *, counted: bool) -> None:
        step = self.machine.steps[ended.step]
        if ended.revision != step.revision and not counted:
            return
        item = self.item((ended.step, UNDO if ended.compensation else ended.index))
        item.ended_ms = at_ms
        if ended.contract_id:
            item.contract_id = int(ended.contract_id, 16)
        if ended.run_id:
            item.run_id = int(ended.run_id, 16)
        if ended.HasField("failure"):
            item.failure = ended.failure
            if counted and ended.state == STEP_STATE_FAILED:
                self.failures.setdefault(ended.step, ended.failure)
        if counted and ended.state == STEP_STATE_SUCCEEDED:
            item.output = ended.output

    def _step_begun(self, begun: StepBegun) -> None:
        self.begun.discard(begun.step)
        if begun.HasField("failure"):
            self.failures[begun.step] = begun.failure
        self._take_signals(self.changed_ms)

    def _take_signals(self, at_ms: int) -> None:
        """Give steps the payloads of the signals that they took."""
        for name, step in self.machine.steps.items():
            if step.took in self._signals:
                payload = self._signals.pop(step.took)
                item = self.item((name, 0))
                item.output, item.ended_ms = payload, at_ms

    def _woken(self, name: str, at_ms: int) -> None:
        item = self.item((name, 0))
        item.ended_ms = at_ms
        if self.machine.steps[name].state is StepState.FAILED:
            item.failure = Failure(code="SIGNAL_TIMEOUT", message="the signal did not come in time")
            self.failures.setdefault(name, item.failure)

    def _retried(self) -> None:
        """Forget what is to be done again."""
        self.failure, self.output, self.ended_ms = None, None, 0
        for name, step in self.machine.steps.items():
            if step.state is StepState.PENDING:
                self.failures.pop(name, None)
                self.lists.pop(name, None)
                gone = [k for k in self.items if k[0] == name and k[1] not in step.kept]
                for key in gone:
                    del self.items[key]
                for place in (self.done, self.prepared):
                    for key in [k for k in place if k[0] == name]:
                        place.discard(key) if isinstance(place, set) else place.pop(key)

    # --- data -------------------------------------------------------------------------------------

    def scope(self, needed: Collection[str]) -> Scope:
        """What expressions see that need the outputs of these steps, and "input" if it is among
        them. Of other steps only how they ended is there."""
        steps = {
            name: self._step_value(name, step, with_output=name in needed)
            for name, step in self.machine.steps.items()
            if step.state in ENDED
        }
        return Scope(self.facts(), self.input_value() if "input" in needed else None, steps)

    def facts(self) -> dict[str, Any]:
        """What `run` is in expressions."""
        if not self._facts:
            self._facts = {
                "id": self.name,
                "workflow": self.row.workflow,
                "version": self.row.version,
                "start_time": timestamp_of_ms(self.row.started_ms).ToJsonString(),
            }
        return self._facts

    def input_value(self) -> Any:
        """The input as a JSON value, or unread."""
        if not self._input_read:
            kind = self.input.WhichOneof("content")
            if kind not in (None, "json"):
                return Unread(self.input)
            self._input_value = json_value(self.input.json) if kind else {}
            self._input_read = True
        return self._input_value

    @property
    def is_input_unread(self) -> bool:
        """Whether the input is content that nobody has read."""
        return isinstance(self.input_value(), Unread)

    def read_input(self, value: Any) -> None:
        """Somebody has read the blob that the input is."""
        self._input_value, self._input_read = value, True

    def _step_value(self, name: str, step: StepRun, *, with_output: bool) -> StepValue:
        failure = self.failures.get(name) if step.state is StepState.FAILED else None
        told = {"code": failure.code, "message": failure.message} if failure is not None else None
        return StepValue(step.state.name, self._output_of(name) if with_output else None, told)

    def _output_of(self, name: str) -> Any:
        step = self.machine.steps[name]
        if not self.version.is_fanned(name):
            item = self.items.get((name, 0))
            good = item is not None and step.state is StepState.SUCCEEDED
            return item.data() if item is not None and good else None
        return [
            self.items[name, index].data()
            for index in sorted(step.ended)
            if step.ended[index] is StepState.SUCCEEDED
        ]

    def unread(self, needed: Collection[str]) -> list[Item]:
        """Items of these steps whose outputs are blobs that nobody has read."""
        return [
            item
            for (name, _), item in self.items.items()
            if name in needed and isinstance(item.data(), Unread)
        ]
