"""One step of a run, as the interpreter keeps it."""

from __future__ import annotations

from muster.workflow.facts import Begun, StepState
from muster.workflow.plan import Kind, PlanStep, Rule

ENDED = frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED})
WAITING_KINDS = frozenset({Kind.GATE, Kind.TIMER, Kind.SIGNAL})


class StepRun:
    """A step, its items, and how they ended."""

    __slots__ = (
        "begun_ms",
        "could_not_begin",
        "ended",
        "ended_ms",
        "failures",
        "given",
        "items",
        "kept",
        "open",
        "order",
        "plan",
        "revision",
        "state",
        "successes",
        "todo",
        "took",
        "tried_undo",
        "undoing",
        "undone",
        "wake_ms",
    )

    def __init__(self, plan: PlanStep) -> None:
        self.plan = plan
        self.kept: dict[int, StepState] = {}  # items that succeeded before a retry
        self._clear()

    def _clear(self) -> None:
        self.state = StepState.PENDING
        self.revision = 0
        self.items = 0
        self.could_not_begin = False
        self.ended: dict[int, StepState] = {}  # before the step was decided
        self.open: set[int] = set()  # given out, and not ended
        self.todo: tuple[int, ...] | range = ()
        self.given = 0  # of those that are to be done
        self.successes = 0
        self.failures = 0
        self.order = 0  # among the steps that succeeded
        self.took = 0  # the sequence of the signal that it took
        self.wake_ms = 0
        self.begun_ms = 0
        self.ended_ms = 0
        self.undoing = False
        self.tried_undo = False
        self.undone = False

    def reset(self, *, keep: bool) -> None:
        """Do it again; with `keep` without the items that have succeeded."""
        keep = keep and not self.tried_undo
        succeeded: dict[int, StepState] = {
            i: s for i, s in self.ended.items() if s is StepState.SUCCEEDED
        }
        items = self.items
        self._clear()
        self.kept = succeeded if keep else {}
        self.items = items if keep else 0

    def begin(self, fact: Begun, at_ms: int) -> None:
        """It has begun, or is skipped, or could not."""
        kept = self.kept if self.items == fact.items else {}
        self.kept = {}
        self.revision, self.items, self.begun_ms = fact.revision, fact.items, at_ms
        self.wake_ms = fact.wake_ms
        if fact.skipped or fact.failed:
            self.state = StepState.SKIPPED if fact.skipped else StepState.FAILED
            self.could_not_begin = fact.failed
            self.ended_ms = at_ms
            return
        self.ended, self.successes = dict(kept), len(kept)
        every = range(fact.items)
        self.todo = tuple(i for i in every if i not in kept) if kept else every
        waits = self.plan.kind in WAITING_KINDS
        self.state = StepState.WAITING if waits else StepState.RUNNING
        if self.plan.kind in (Kind.TIMER, Kind.SIGNAL):
            self.give(1)  # nobody does them

    def give(self, count: int) -> tuple[int, ...]:
        """Give out so many more items; returns which."""
        new = tuple(self.todo[self.given : self.given + max(0, count)])
        self.given += len(new)
        self.open.update(new)
        return new

    def end_item(self, index: int, state: StepState, at_ms: int) -> None:
        """An item has ended. What comes after the step was decided does not count."""
        if index not in self.open:
            return
        self.open.discard(index)
        if self.state in ENDED:
            return
        self.ended[index] = state
        if state is StepState.SUCCEEDED:
            self.successes += 1
        else:
            self.failures += 1

    def decide(self, at_ms: int, *, unwinding: bool = False) -> None:
        """End the step when its rule says so. What fails while the run unwinds was stopped."""
        verdict = self._verdict()
        if verdict is StepState.FAILED and unwinding:
            verdict = StepState.CANCELLED
        if verdict is not None and self.state not in ENDED:
            self.state = verdict
            self.ended_ms = at_ms

    @property
    def is_to_be_undone(self) -> bool:
        """Whether something of it was done that can be undone, and nobody has tried to."""
        return self.plan.undoable and bool(self.successes) and not self.tried_undo

    def _verdict(self) -> StepState | None:
        needed = self._needed()
        if self.items - self.failures < needed:
            return StepState.FAILED
        enough = self.successes >= needed
        all_ended = self.successes + self.failures == self.items
        if enough and (all_ended or self.plan.rule is Rule.FIRST):
            return StepState.SUCCEEDED
        return None

    def _needed(self) -> int:
        """How many items must succeed."""
        if self.plan.rule is Rule.ALL:
            return self.items
        if self.plan.rule is Rule.TOLERATE:
            return max(0, self.items - self.plan.count)
        return self.plan.count

    def run_ended(self, at_ms: int) -> None:
        """The run ended before the step did."""
        if self.state not in ENDED:
            self.state = StepState.CANCELLED
            self.ended_ms = at_ms if self.begun_ms else 0
        self.open.clear()
