"""The open runs of a scheduler, and the journals that they follow from.

`append` is the only place where something happens to a run: the entry joins the next commit, with
whatever else is decided in the same turn of the event loop, and the run takes it at once. Whoever
is told of it is told after the commit. A commit that fails is repeated or ends the process, as for
contracts, so nothing is ever taken back.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from muster.failpoints import failpoint
from muster.model import limits
from muster.model.errors import FailedPrecondition
from muster.model.ids import format_id, shard_of_id
from muster.model.records import Action, RunEntry
from muster.runtime.distribution import MILLISECONDS, Distribution
from muster.scheduler.admission import moving
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.run import Run, RunRow, StartScope
from muster.scheduler.workflows.run_spans import trace_end
from muster.scheduler.workflows.run_watching import RunWatchers
from muster.scheduler.workflows.versions import Version
from muster.v1.response_pb2 import Failure
from muster.v1.workflow_run_pb2 import (
    STEP_STATE_SUCCEEDED,
    ItemEnded,
    RunEvent,
    RunStopped,
    StepBegun,
)
from muster.wire.times import timestamp_of_ms
from muster.workflow.facts import RunState, Want


class Engine(Protocol):
    """Who has done what runs want."""

    def require(self) -> None:
        """Raises `FailedPrecondition` where it cannot take a new run."""

    def wanted(self, run: Run, wants: Sequence[Want]) -> None:
        """A run's journal has grown, and these are wanted now that were not before."""

    def restored(self, run: Run) -> None:
        """An open run has come from the ledger: all that it wants is outstanding."""

    def committed(self, run: Run, event: RunEvent) -> None:
        """An entry of the run's journal is committed."""

    def forgotten(self, run: Run) -> None:
        """The run has ended, or is another scheduler's now."""


class Runs:
    """Every open run of the shards that this scheduler owns."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.engines: dict[int, Engine] = {}
        self.open: dict[int, Run] = {}
        self.by_scope: dict[StartScope, Run] = {}
        # Those that have just ended, for whoever waited for it and wants to know how.
        self._recent: OrderedDict[int, Run] = OrderedDict()
        self._recent_bytes = 0
        self.watchers = RunWatchers()
        self.started = 0  # since the process started
        self.ended: Counter[RunState] = Counter()
        self.seconds = Distribution(MILLISECONDS)  # from start to end
        self.steps = 0  # items that have ended
        # Whom to tell of a run's end, by its id, once that is durable.
        self.ends: dict[int, Callable[[int], None]] = {}
        # Called with a run that is a step of another one, when it has ended.
        self.on_child_ended: Callable[[Run], None] = _nobody

    def new_id(self, shard: int, wall_ms: int) -> int:
        """An id for a run, which no contract will have. Raises where the shard is not owned."""
        if shard not in self.scheduler.generations:
            raise moving()
        return self.scheduler.core.ids.make(shard, wall_ms)

    def owns(self, run: Run) -> bool:
        """Whether the run is still this scheduler's."""
        owned = self.scheduler.generations.get(run.shard)
        return owned is not None and owned == run.generation

    # --- coming and going -------------------------------------------------------------------------

    def start(self, row: RunRow, version: Version, event: RunEvent) -> Run:
        """A new run, whose shard is owned. Its first entry is `event`."""
        run = Run(row, version, self.scheduler.generations[shard_of_id(row.id)])
        self.open[run.id] = run
        self.by_scope[row.scope] = run
        batch = self.scheduler.committer.batch
        batch.record(Action.ADD, "workflow_runs", row, run.shard)
        batch.bytes += len(row.input)
        self.started += 1
        self.append(run, event)
        return run

    def hold(self, run: Run) -> None:
        """An open run that was read from the ledger, or an ended one that is to go on."""
        if self._recent.pop(run.id, None) is not None:
            self._recent_bytes -= run.bytes
        self.open[run.id] = run
        self.by_scope[run.row.scope] = run

    def forget(self, run: Run) -> None:
        """It has ended, or is somebody else's."""
        self.open.pop(run.id, None)
        if self.by_scope.get(run.row.scope) is run:
            del self.by_scope[run.row.scope]
        self.engines[run.row.engine].forgotten(run)

    def find(self, run_id: int) -> Run | None:
        """A run that is open, or has just ended; None: the ledger knows."""
        run = self.open.get(run_id) or self._recent.get(run_id)
        return run if run is not None and self.owns(run) else None

    def _remember(self, run: Run) -> None:
        self._recent[run.id] = run
        self._recent_bytes += run.bytes
        while self._recent_bytes > limits.RUNS_RECENT_BYTES_MAX:
            _, gone = self._recent.popitem(last=False)
            self._recent_bytes -= gone.bytes

    # --- the journal ------------------------------------------------------------------------------

    def append(self, run: Run, event: RunEvent) -> None:
        """Add an entry to a run's journal; its number and time are filled in.

        Raises `Unavailable` where the run is another scheduler's by now.
        """
        if not self.owns(run):
            raise moving()
        if run.machine.sequence >= limits.RUN_EVENTS_MAX and not event.HasField("ended"):
            raise FailedPrecondition(
                f"the run's journal has {limits.RUN_EVENTS_MAX} entries; start another run",
                reason="RUN_STATE",
            )
        now = self.scheduler.clock()
        event.run_id = run.name
        event.sequence = run.machine.sequence + 1
        # Time stands still rather than go back: what follows from an entry is no earlier.
        at_ms = max(now.wall_ms, run.changed_ms)
        event.time.CopyFrom(timestamp_of_ms(at_ms))
        raw = event.SerializeToString()
        batch = self.scheduler.committer.batch
        row = (run.id, event.sequence, at_ms, raw)
        batch.record(Action.ADD, "workflow_journal", row, run.shard)
        batch.bytes += len(raw)
        run.bytes += len(raw)
        wants = run.apply(event)
        batch.record(Action.PUT, "workflow_heads", head_of(run), run.shard)
        batch.events.extend((run.id, event.sequence))
        batch.empty = False
        entry = RunEntry(run.id, run.row.tenant, event.sequence, run.row.workflow, at_ms, raw)
        self.scheduler.committer.after.append((self._tell, (run, event), entry))
        if event.HasField("item_ended"):
            self.steps += 1
        if event.HasField("ended"):
            self.ended[run.machine.state] += 1
            self.seconds.add(at_ms - run.row.started_ms)
            self.forget(run)
            self._remember(run)
            if run.row.parent_id:
                self.on_child_ended(run)
        else:
            # Until all of its items are found, an item may be taken for one that nobody has begun.
            # `restored` names all that is wanted then.
            self.engines[run.row.engine].wanted(run, () if run.is_returning else wants)

    @failpoint("run_entry_untold")
    def _tell(self, told: tuple[Run, RunEvent], entry: RunEntry) -> None:
        run, event = told
        self.watchers.tell(run, event)
        self.engines[run.row.engine].committed(run, event)
        scheduler = self.scheduler
        if event.HasField("ended"):
            trace_end(scheduler, run)
            if (tell := self.ends.pop(run.id, None)) is not None:
                tell(run.id)
        if scheduler.hub.is_watched:
            scheduler.hub.publish_runs(scheduler.committer.position, [entry])

    def begun(self, run: Run, begun: StepBegun) -> None:
        """A step was begun."""
        begun.revision = run.machine.revision
        self.append(run, RunEvent(begun=begun))

    def item_ended(self, run: Run, ended: ItemEnded) -> None:
        """An item has ended; nothing happens where that is known already."""
        if run.machine.is_over or not self.owns(run):
            return
        step = run.machine.steps[ended.step]
        waits = step.undoing if ended.compensation else ended.index in step.open
        if waits and ended.revision == step.revision:
            late = 0 < run.deadline_ms <= self.scheduler.clock().wall_ms
            if late and ended.state != STEP_STATE_SUCCEEDED:
                # Its own deadline was the run's: whichever timer is first, it is the run's time.
                self.time_over(run)
            self.append(run, RunEvent(item_ended=ended))

    def time_over(self, run: Run) -> None:
        """The run's deadline has come; nothing happens where it is being unwound already."""
        if run.machine.state is RunState.RUNNING:
            failure = Failure(code="RUN_TIMEOUT", message="the run's time is over")
            self.append(run, RunEvent(stopped=RunStopped(failure=failure)))

    # --- looking ----------------------------------------------------------------------------------

    def of_tenant(self, tenant: str) -> Iterable[Run]:
        """The open runs of a tenant."""
        return (run for run in self.open.values() if run.row.tenant == tenant)


def head_of(run: Run) -> tuple[object, ...]:
    """The row that says where a run is: of the table workflow_heads."""
    machine = run.machine
    return (
        run.id,
        run.shard,
        run.row.tenant,
        run.row.workflow,
        run.row.conversation,
        int(machine.state),
        int(not machine.is_over),
        machine.sequence,
        run.changed_ms,
        run.ended_ms,
    )


def _nobody(run: Run) -> None:
    message = f"run {format_id(run.id)} has a parent, and nobody looks after that"
    raise AssertionError(message)
