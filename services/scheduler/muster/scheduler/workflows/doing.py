"""Does what runs want: begins steps, submits contracts, asks people, undoes, ends.

Everything here is decided and recorded in one turn of the event loop: the entry of the journal and
what follows from it are in the same commit. What cannot be done in one turn, because content must
be read or stored first, raises `NotYet`, with what is to be awaited before trying again; what the
mesh cannot take now raises a `MusterError` with UNAVAILABLE or RESOURCE_EXHAUSTED.

Doing a thing again is harmless: contracts and child runs have ids that name run, step, item and
revision, and whatever the machine does not want any more is left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from functools import partial
from typing import Any, TypeVar

from muster.backends.base import Blobs
from muster.failpoints import failpoint
from muster.model import limits
from muster.model.errors import Code, MusterError, NotFound
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.children import Children
from muster.scheduler.workflows.contracts import Contracts
from muster.scheduler.workflows.gates import ask, question_id_of
from muster.scheduler.workflows.run import UNDO, Run
from muster.scheduler.workflows.runs import Runs
from muster.v1.payload_pb2 import BlobRef, Payload
from muster.v1.response_pb2 import Failure
from muster.v1.workflow_run_pb2 import (
    RUN_STATE_FAILED,
    STEP_STATE_CANCELLED,
    STEP_STATE_FAILED,
    ItemEnded,
    RunEnded,
    RunEvent,
    StepBegun,
    StepWoken,
)
from muster.wire.jsontext import json_value
from muster.wire.times import ms_of_duration, timestamp_of_ms
from muster.workflow import facts as f
from muster.workflow.facts import RunState, StepState, Want
from muster.workflow.plan import Kind
from muster.workflow.scope import Scope, Unevaluable

T = TypeVar("T")
PASSING = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})


class NotYet(Exception):
    """Something must be read or stored before: `prepare` does, and then one may try again."""

    def __init__(self, prepare: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.prepare = prepare


def is_passing(error: MusterError) -> bool:
    """Whether the same may well be possible later."""
    return error.code in PASSING and error.retry_after_seconds is not None


class Doing:
    """Has done what runs want, on behalf of either engine."""

    def __init__(self, scheduler: Scheduler, runs: Runs, blobs: Blobs, children: Children) -> None:
        self._scheduler = scheduler
        self._runs = runs
        self._blobs = blobs
        self._children = children
        self._contracts = Contracts(scheduler, runs)
        runs.on_child_ended = self._child_ended
        self._by_kind: dict[type, Callable[[Run, Any], None]] = {
            f.Begin: self._begin,
            f.Do: self._do,
            f.Stop: self._stop,
            f.Undo: self._undo,
            f.End: self._end,
            f.Wake: self._wake,
        }

    def perform(self, run: Run, want: Want) -> None:
        """Do it, unless it is not wanted any more. Raises `NotYet`, and what passes."""
        if self._runs.owns(run) and run.machine.wants(want):
            self._by_kind[type(want)](run, want)

    def give_up(self, run: Run, want: Want, code: str, message: str) -> None:
        """It cannot be done, now or later: what follows from that."""
        if not (self._runs.owns(run) and run.machine.wants(want)):
            return
        failure = Failure(code=code, message=message, permanent=True)
        match want:
            case f.Begin(step, _):
                self._runs.begun(run, StepBegun(step=step, failure=failure))
            case f.Do(step, revision, items):
                for index in items:
                    self._item(run, step, revision, index, failure)
            case f.Undo(step, revision):
                self._item(run, step, revision, 0, failure, compensation=True)
            case f.End(_):
                self._runs.append(
                    run, RunEvent(ended=RunEnded(state=RUN_STATE_FAILED, failure=failure))
                )

    # --- steps ------------------------------------------------------------------------------------

    def _begin(self, run: Run, want: f.Begin) -> None:
        name = want.step
        step, plan = run.version.steps[name], run.version.definition.plan.steps[name]
        begun = StepBegun(step=name, items=1)
        if run.machine.is_passed_over(plan):
            begun.skipped = True
            self._runs.begun(run, begun)
            return
        definition = run.version.definition
        try:
            beginning = self._evaluate(run, definition.needs(name), partial(definition.begin, name))
        except Unevaluable as error:
            self.give_up(run, want, "EXPRESSION", str(error))
            return
        begun.skipped = beginning.skipped
        if beginning.items is not None:
            begun.items = len(beginning.items)
            run.lists[name] = beginning.items
        now_ms = self._scheduler.clock().wall_ms
        if plan.kind is Kind.TIMER:
            begun.wake_time.CopyFrom(timestamp_of_ms(now_ms + ms_of_duration(step.wait.duration)))
        elif plan.kind is Kind.SIGNAL and step.HasField("timeout"):
            begun.wake_time.CopyFrom(timestamp_of_ms(now_ms + ms_of_duration(step.timeout)))
        self._runs.begun(run, begun)

    def _do(self, run: Run, want: f.Do) -> None:
        step = run.machine.steps[want.step]
        todo = [i for i in want.indexes if i in step.open and (want.step, i) not in run.done]
        for at, index in enumerate(todo):
            rest = f.Do(want.step, want.revision, tuple(todo[at:]))
            if not run.machine.wants(rest) or index not in step.open:
                return
            try:
                self._do_item(run, step.plan.kind, want.step, index)
            except Unevaluable as error:
                self._fail(run, want, index, "EXPRESSION", str(error))
            except NotFound as error:
                self._fail(run, want, index, error.reason, error.message)
            except MusterError as error:
                if is_passing(error):
                    raise
                self._fail(run, want, index, error.reason, error.message)

    def _do_item(self, run: Run, kind: Kind, name: str, index: int) -> None:
        if kind is Kind.GATE:
            question = self._evaluate(
                run,
                run.version.definition.needs(name),
                partial(run.version.definition.question_of, name),
            )
            ask(self._scheduler, run, name, question)
        else:
            payload = self._input(run, name, index)
            if kind is Kind.RUN:
                self._children.start(run, name, index, payload, NotYet)
            else:
                self._contracts.submit(run, name, index, payload)
        run.done.add((name, index))
        run.item((name, index)).begun_ms = self._scheduler.clock().wall_ms

    def _input(self, run: Run, name: str, index: int) -> Payload:
        key = (name, index)
        if key in run.prepared:
            return run.prepared[key]
        definition = run.version.definition

        def evaluate(scope: Scope) -> str | Payload:
            if index == UNDO:
                return definition.undo_input_of(name, scope)
            if not run.version.is_fanned(name):
                return definition.input_of(name, scope)
            items = run.lists.get(name)
            if items is None:
                items = run.lists[name] = definition.begin(name, scope).items or []
            return definition.input_of(name, scope, items[index], index)

        needed = definition.needs_undo(name) if index == UNDO else definition.needs(name)
        made = self._evaluate(run, needed, evaluate)
        return self._sized(run, key, made)

    def _sized(self, run: Run, key: tuple[str, int], made: str | Payload) -> Payload:
        """Content as a payload; what is large becomes a blob first."""
        if isinstance(made, Payload):
            return made
        if len(made) * 4 <= limits.PAYLOAD_INLINE_BYTES_MAX:
            return Payload(json=made)
        raw = made.encode()
        if len(raw) <= limits.PAYLOAD_INLINE_BYTES_MAX:
            return Payload(json=made)
        raise NotYet(partial(self._store, run, key, raw))

    def _undo(self, run: Run, want: f.Undo) -> None:
        key = (want.step, UNDO)
        if key in run.done:
            return
        try:
            self._contracts.submit(run, want.step, UNDO, self._input(run, want.step, UNDO))
        except Unevaluable as error:
            self.give_up(run, want, "EXPRESSION", str(error))
            return
        except MusterError as error:
            if is_passing(error):
                raise
            self.give_up(run, want, error.reason, error.message)
            return
        run.done.add(key)
        run.item(key).begun_ms = self._scheduler.clock().wall_ms

    def _stop(self, run: Run, want: f.Stop) -> None:
        step = run.machine.steps[want.step]
        kind = step.plan.kind
        for index in want.indexes:
            if index not in step.open:
                continue
            if (want.step, index) in run.done:
                if kind is Kind.CONTRACT:
                    self._contracts.cancel(run, want.step, index)
                    continue
                if kind is Kind.RUN:
                    self._children.stop(run, want.step, index)
                    continue
                self._scheduler.questions.withdraw(
                    self._scheduler.clock(), run.id, question_id_of(run, want.step)
                )
            failure = Failure(code="CANCELLED", message="the run did not need it any more")
            ended = ItemEnded(
                step=want.step, revision=want.revision, index=index, state=STEP_STATE_CANCELLED
            )
            ended.failure.CopyFrom(failure)
            self._runs.item_ended(run, ended)

    # --- time -------------------------------------------------------------------------------------

    def _wake(self, run: Run, want: f.Wake) -> None:
        if self._scheduler.clock().wall_ms < want.at_ms:
            return
        if want.step:
            woken = StepWoken(step=want.step, revision=want.revision)
            self._runs.append(run, RunEvent(woken=woken))
        else:
            self._runs.time_over(run)

    # --- ends -------------------------------------------------------------------------------------

    def _end(self, run: Run, want: f.End) -> None:
        ended = RunEnded(state=int(want.state))  # type: ignore[arg-type]
        if want.state is RunState.SUCCEEDED:
            definition = run.version.definition
            key = ("", 0)
            try:
                made: str | Payload | None = run.prepared.get(key)
                if made is None:
                    made = self._evaluate(run, definition.needs_output(), definition.output)
            except Unevaluable as error:
                self.give_up(run, want, "EXPRESSION", str(error))
                return
            if made is not None:
                ended.output.CopyFrom(self._sized(run, key, made))
        else:
            ended.failure.CopyFrom(_failure_of(run))
        self._runs.append(run, RunEvent(ended=ended))

    @failpoint("run_child_untold")
    def _child_ended(self, child: Run) -> None:
        parent = self._runs.open.get(child.row.parent_id)
        if parent is None:
            return
        row = child.row
        state = StepState[child.machine.state.name]
        ended = ItemEnded(
            step=row.parent_step,
            revision=row.parent_revision,
            index=row.parent_item,
            state=int(state),  # type: ignore[arg-type]
            run_id=child.name,
        )
        if child.output is not None:
            ended.output.CopyFrom(child.output)
        if child.failure is not None:
            ended.failure.CopyFrom(child.failure)
        self._runs.item_ended(parent, ended)

    def _fail(self, run: Run, want: f.Do, index: int, code: str, message: str) -> None:
        failure = Failure(code=code, message=message, permanent=True)
        self._item(run, want.step, want.revision, index, failure)

    def _item(
        self,
        run: Run,
        step: str,
        revision: int,
        index: int,
        failure: Failure,
        *,
        compensation: bool = False,
    ) -> None:
        ended = ItemEnded(
            step=step,
            revision=revision,
            index=index,
            compensation=compensation,
            state=STEP_STATE_FAILED,
        )
        ended.failure.CopyFrom(failure)
        self._runs.item_ended(run, ended)

    # --- data -------------------------------------------------------------------------------------

    def _evaluate(self, run: Run, needed: Collection[str], call: Callable[[Scope], T]) -> T:
        """What an expression amounts to. Where it looks into a blob, that is read first."""
        try:
            return call(run.scope(needed))
        except Unevaluable:
            unread = [
                item
                for item in run.unread(needed)
                if item.output is not None and _is_readable(item.output)
            ]
            reads = [partial(self._read, run, item.output.blob, item.read) for item in unread]  # type: ignore[union-attr]
            if "input" in needed and _is_readable(run.input) and run.is_input_unread:
                reads.append(partial(self._read, run, run.input.blob, run.read_input))
            if not reads:
                raise
            raise NotYet(partial(_all, reads)) from None

    async def _read(self, run: Run, blob: BlobRef, take: Callable[[Any], None]) -> None:
        parts = [part async for part in self._blobs.get(run.row.tenant, blob.sha256)]
        try:
            take(json_value(b"".join(parts).decode()))
        except ValueError:
            take(None)

    async def _store(self, run: Run, key: tuple[str, int], raw: bytes) -> None:
        digest = hashlib.sha256(raw).hexdigest()

        async def chunks() -> AsyncIterator[bytes]:
            yield raw

        await self._blobs.put(run.row.tenant, digest, len(raw), 0, chunks())
        blob = BlobRef(sha256=digest, size_bytes=len(raw), media_type="application/json")
        run.prepared[key] = Payload(blob=blob)


async def _all(calls: Collection[Callable[[], Awaitable[None]]]) -> None:
    for call in calls:
        await call()


def _is_readable(payload: Payload) -> bool:
    return (
        payload.HasField("blob")
        and payload.blob.media_type in ("", "application/json")
        and payload.blob.size_bytes <= limits.RUN_BLOB_READ_BYTES_MAX
    )


def _failure_of(run: Run) -> Failure:
    """Why a run did not succeed."""
    name = run.machine.failed_step
    if not name:
        return run.failure or Failure(code="CANCELLED", message="the run was cancelled")
    cause = run.failures.get(name, Failure(code="STEP_FAILED"))
    text = f"step {name} failed with {cause.code}: {cause.message}"
    return Failure(
        code="STEP_FAILED",
        message=text.encode()[: limits.FAILURE_MESSAGE_BYTES_MAX].decode(errors="ignore"),
    )
