"""The interpreter of workflows: what follows from a run's journal.

Theory. A run's state is a fold over its journal: `Machine(plan)` takes one fact after the other and
says after each what is wanted now that was not before. It reads no clock, knows no data, and never
takes anything back; the same plan and the same facts give the same state and the same wants,
whoever folds them. So the journal is all there is to keep, and both engines are thin: they record
facts, and have done what is wanted.

What is wanted is a level, too: `outstanding` is everything that is wanted and has not come true,
which is what an engine begins with after a restart. Doing a thing twice is harmless, since whoever
does it names it by run, step, index and revision.

A step is begun when all that it depends on has ended. Then it has items, which are given out in
order, as many at a time as it allows; its rule decides when enough have ended. A run that fails, or
is stopped, unwinds: what is being done is stopped, then what was done is undone, the last first.
Only a run that has ended can be retried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from muster.workflow import facts as f
from muster.workflow.facts import Fact, RunState, StepState, Want
from muster.workflow.plan import Kind, Plan, PlanStep
from muster.workflow.steps import ENDED, StepRun

ENDED_RUN = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


class Machine:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = RunState.RUNNING
        self.revision = 0
        self.sequence = 0  # of the last fact
        self.paused = False
        self.deadline_ms = 0
        self.failed_step = ""  # the first whose failure the run does not survive
        self.cancelled = False  # rather than failed
        self.steps = {name: StepRun(step) for name, step in plan.steps.items()}
        self._signals: dict[str, deque[int]] = {}  # that nobody has taken yet, by sequence
        self._finished = 0  # steps that have succeeded, for their order
        self._wants: list[Want] = []

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, for now."""
        return self.state in ENDED_RUN

    def apply(self, fact: Fact, at_ms: int) -> list[Want]:
        """Take the next fact, recorded at Unix milliseconds; returns what is newly wanted.

        Facts about what is over already change nothing but their count.
        """
        self.sequence += 1
        self._wants = []
        _TAKE[type(fact)](self, fact, at_ms)
        wants, self._wants = self._wants, []
        return wants

    def outstanding(self) -> list[Want]:
        """All that is wanted and has not come true."""
        wants: list[Want] = []
        if self.is_over:
            return wants
        if self.deadline_ms and self.state is RunState.RUNNING:
            wants.append(f.Wake("", 0, self.deadline_ms))
        for step in self.steps.values():
            wants.extend(self._outstanding_of(step))
        end = self._end()
        return [*wants, end] if end is not None else wants

    def wants(self, want: Want) -> bool:
        """Whether this is wanted still. Of items, some of those named may not be."""
        if self.is_over:
            return False
        if isinstance(want, f.End):
            return self._end() is not None
        if not want.step:
            return self.state is RunState.RUNNING
        step = self.steps.get(want.step)
        if step is None:
            return False
        kind, revision = type(want), want.revision
        return any(
            type(mine) is kind and mine.revision == revision for mine in self._outstanding_of(step)
        )

    def _outstanding_of(self, step: StepRun) -> Iterable[f.OfStep]:
        name, revision = step.plan.name, step.revision
        if self._may_begin(step):
            yield f.Begin(name, self.revision)
        if step.undoing:
            yield f.Undo(name, revision)
        if not step.open:
            return
        indexes = tuple(sorted(step.open))
        if step.state in ENDED or self.state is not RunState.RUNNING:
            yield f.Stop(name, revision, indexes)
        elif step.plan.kind not in (Kind.TIMER, Kind.SIGNAL):
            yield f.Do(name, revision, indexes)
        elif step.wake_ms:
            yield f.Wake(name, revision, step.wake_ms)

    # --- facts ------------------------------------------------------------------------------------

    def _started(self, fact: f.Started, at_ms: int) -> None:
        self.deadline_ms = fact.deadline_ms
        for begun, items in fact.kept:
            step = self.steps[begun.step]
            step.begin(begun._replace(revision=0), at_ms)
            step.give(step.items)
            for item in items:
                step.end_item(item.item, item.state, at_ms)
            step.decide(at_ms)
            step.open.clear()
            self._count(step)
        if fact.deadline_ms:
            self._wants.append(f.Wake("", 0, fact.deadline_ms))
        self._go_on()

    def _begun(self, fact: f.Begun, at_ms: int) -> None:
        step = self.steps[fact.step]
        if not self._may_begin(step) or fact.revision != self.revision:
            return
        step.begin(fact, at_ms)
        if step.state in ENDED:
            self._step_ended(step)
            return
        if step.plan.kind is Kind.SIGNAL:
            waiting = self._signals.get(step.plan.signal)
            if waiting:
                self._take(step, waiting.popleft(), at_ms)
        if step.open and step.wake_ms:
            self._wants.append(f.Wake(fact.step, fact.revision, step.wake_ms))
        self._progress(step, at_ms)

    def _item_ended(self, fact: f.ItemEnded, at_ms: int) -> None:
        step = self.steps[fact.step]
        if fact.revision != step.revision:
            return
        if fact.undo:
            if step.undoing:
                step.undoing, step.undone = False, fact.state is StepState.SUCCEEDED
                step.tried_undo = True
                self._unwind()
            return
        step.end_item(fact.item, fact.state, at_ms)
        self._progress(step, at_ms)

    def _woken(self, fact: f.Woken, at_ms: int) -> None:
        step = self.steps[fact.step]
        if fact.revision == step.revision and step.open:
            slept = step.plan.kind is Kind.TIMER
            step.end_item(0, StepState.SUCCEEDED if slept else StepState.FAILED, at_ms)
            self._progress(step, at_ms)

    def _signalled(self, fact: f.Signalled, at_ms: int) -> None:
        for step in self.steps.values():
            waits = step.plan.kind is Kind.SIGNAL and step.plan.signal == fact.name
            if waits and step.open and self.state is RunState.RUNNING:
                self._take(step, self.sequence, at_ms)
                self._progress(step, at_ms)
                return
        self._signals.setdefault(fact.name, deque()).append(self.sequence)

    def _take(self, step: StepRun, sequence: int, at_ms: int) -> None:
        step.took = sequence
        step.end_item(0, StepState.SUCCEEDED, at_ms)

    def _paused(self, _: f.Paused, __: int) -> None:
        self.paused = True

    def _resumed(self, _: f.Resumed, __: int) -> None:
        if self.paused:
            self.paused = False
            self._go_on()

    def _stopped(self, fact: f.Stopped, _: int) -> None:
        if self.state is RunState.RUNNING:
            self.cancelled = fact.cancelled
            self._begin_to_unwind()

    def _ended(self, fact: f.Ended, at_ms: int) -> None:
        self.state = fact.state
        for step in self.steps.values():
            step.run_ended(at_ms)

    def _retried(self, fact: f.Retried, _: int) -> None:
        if not self.is_over:
            return
        anew = self.plan.after(fact.step) if fact.step else frozenset()
        self.revision, self.deadline_ms = fact.revision, fact.deadline_ms
        self.state, self.cancelled, self.failed_step = RunState.RUNNING, False, ""
        self.paused = False
        for name, step in self.steps.items():
            if name in anew or not self._is_good(step):
                # What succeeded of it still counts, unless the step is to be done as a whole.
                keeps = name == fact.step or name not in anew
                step.reset(keep=keeps and step.state is not StepState.SUCCEEDED)
        if fact.deadline_ms:
            self._wants.append(f.Wake("", 0, fact.deadline_ms))
        self._go_on()

    # --- what may be asked for --------------------------------------------------------------------

    def why_not_retry(self, name: str) -> str:
        """Why the run cannot be tried again from a step on, or "" from those that failed; "" where
        it can."""
        if not self.is_over:
            return f"the run is {self.state.name}; cancel it, or wait until it has ended"
        if self.state is RunState.SUCCEEDED:
            return "the run has succeeded; fork it to do a part of it again"
        anew = self.plan.after(name) if name else frozenset()
        undone = [s for s, step in self.steps.items() if step.undone and s not in anew]
        if undone:
            return f"{', '.join(undone)} has been undone; retry from there, or start another run"
        return ""

    def kept_in_fork(self, name: str) -> list[str]:
        """The steps whose outcome a fork from a step on keeps: they have ended well, and so has
        all that they depend on."""
        anew = self.plan.after(name)
        kept: set[str] = set()
        grown = True
        while grown:
            more = {
                s
                for s, step in self.steps.items()
                if s not in anew
                and s not in kept
                and self._is_good(step)
                and not step.open
                and not step.tried_undo
                and kept.issuperset(step.plan.depends_on)
            }
            kept |= more
            grown = bool(more)
        return [s for s in self.steps if s in kept]

    # --- consequences -----------------------------------------------------------------------------

    def _is_good(self, step: StepRun) -> bool:
        """Whether the step has ended in a way that lets the run go on."""
        if step.state is StepState.FAILED:
            return step.plan.continues
        return step.state in (StepState.SUCCEEDED, StepState.SKIPPED)

    def _may_begin(self, step: StepRun) -> bool:
        return (
            step.state is StepState.PENDING
            and self.state is RunState.RUNNING
            and not self.paused
            and all(self._is_good(self.steps[name]) for name in step.plan.depends_on)
        )

    def is_passed_over(self, plan: PlanStep) -> bool:
        """Whether a step that may begin is skipped, because all that it depends on was."""
        before = plan.depends_on
        return (
            bool(before)
            and not plan.conditional
            and all(self.steps[name].state is StepState.SKIPPED for name in before)
        )

    def _progress(self, step: StepRun, at_ms: int) -> None:
        """What follows for a step of which something has begun or ended."""
        if step.state not in ENDED:
            step.decide(at_ms, unwinding=self.state is RunState.UNWINDING)
            if step.state in ENDED:
                self._step_ended(step)
                return
            if self.state is RunState.RUNNING:
                self._give_out(step)
        if self.state is RunState.UNWINDING:
            self._unwind()
        elif not step.open:
            self._maybe_end()

    def _step_ended(self, step: StepRun) -> None:
        self._count(step)
        if step.open:
            self._wants.append(f.Stop(step.plan.name, step.revision, tuple(sorted(step.open))))
        if self.state is RunState.UNWINDING:
            self._unwind()
        elif self._is_good(step):
            for name in self.plan.followers[step.plan.name]:
                self._offer(self.steps[name])
            self._maybe_end()
        else:
            self.failed_step = step.plan.name
            self._begin_to_unwind()

    def _count(self, step: StepRun) -> None:
        if step.successes:
            self._finished += 1
            step.order = self._finished

    def _offer(self, step: StepRun) -> None:
        if self._may_begin(step):
            self._wants.append(f.Begin(step.plan.name, self.revision))

    def _give_out(self, step: StepRun) -> None:
        """Have more items done, as many as may be at a time."""
        if self.paused:
            return
        new = step.give(step.plan.concurrency - len(step.open))
        if not new:
            return
        self._wants.append(f.Do(step.plan.name, step.revision, new))

    def _go_on(self) -> None:
        """After a start, a pause or a retry: all that may begin, and all that may go on."""
        if self.state is not RunState.RUNNING:
            return
        for step in self.steps.values():
            if step.state is StepState.PENDING:
                self._offer(step)
            elif step.state not in ENDED:
                self._give_out(step)
        self._maybe_end()

    def _begin_to_unwind(self) -> None:
        self.state = RunState.UNWINDING
        for step in self.steps.values():
            if step.open and step.state not in ENDED:
                self._wants.append(f.Stop(step.plan.name, step.revision, tuple(sorted(step.open))))
        self._unwind()

    def _unwind(self) -> None:
        """When nothing is being done any more: undo the next, or end."""
        if any(step.open or step.undoing for step in self.steps.values()):
            return
        done = [step for step in self.steps.values() if step.is_to_be_undone]
        if done:
            last = max(done, key=lambda step: step.order)
            last.undoing = True
            self._wants.append(f.Undo(last.plan.name, last.revision))
        else:
            self._maybe_end()

    def _maybe_end(self) -> None:
        end = self._end()
        if end is not None:
            self._wants.append(end)

    def _end(self) -> f.End | None:
        """What the run ends as, when nothing is left to be done."""
        if self.is_over or any(step.open or step.undoing for step in self.steps.values()):
            return None
        if self.state is RunState.UNWINDING:
            if any(step.is_to_be_undone for step in self.steps.values()):
                return None
            return f.End(RunState.CANCELLED if self.cancelled else RunState.FAILED)
        if all(self._is_good(step) for step in self.steps.values()):
            return f.End(RunState.SUCCEEDED)
        return None


# Not bound methods of each machine: it would hold itself, and wait for the garbage collector.
_TAKE: dict[type, Callable[[Machine, Any, int], None]] = {
    f.Started: Machine._started,
    f.Begun: Machine._begun,
    f.ItemEnded: Machine._item_ended,
    f.Woken: Machine._woken,
    f.Signalled: Machine._signalled,
    f.Paused: Machine._paused,
    f.Resumed: Machine._resumed,
    f.Stopped: Machine._stopped,
    f.Retried: Machine._retried,
    f.Ended: Machine._ended,
}
