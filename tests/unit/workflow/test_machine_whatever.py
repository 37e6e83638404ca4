"""Whatever happens to runs: each ends, and its journal says all."""

import random

from hypothesis import given
from hypothesis import strategies as st

from muster.workflow import facts as f
from muster.workflow.facts import RunState, StepState
from muster.workflow.machine import Machine
from muster.workflow.plan import Kind, Plan, PlanStep, Rule

CONTRACT = Kind.CONTRACT

rules = st.sampled_from(
    [(Rule.ALL, 0), (Rule.FIRST, 1), (Rule.FIRST, 2), (Rule.QUORUM, 2), (Rule.TOLERATE, 1)]
)


@st.composite
def plans(draw) -> Plan:
    names = [f"s{n}" for n in range(draw(st.integers(1, 7)))]
    steps = []
    for at, name in enumerate(names):
        rule, count = draw(rules)
        steps.append(
            PlanStep(
                name,
                draw(st.sampled_from([CONTRACT, CONTRACT, Kind.GATE, Kind.TIMER, Kind.SIGNAL])),
                tuple(draw(st.sets(st.sampled_from(names[:at])))) if at else (),
                concurrency=draw(st.integers(1, 3)),
                rule=rule,
                count=count,
                continues=draw(st.booleans()),
                undoable=draw(st.booleans()),
                signal="go",
            )
        )
    return Plan({step.name: step for step in steps})


class Engine:
    """Does what a machine wants, by lot, one thing after the other."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.dice = random.Random(seed)
        self.plan = plan
        self.journal: list[f.Fact] = []
        self.done: list[tuple[str, int, int]] = []  # step, revision, item: as they were given out
        self.machine = Machine(plan)
        self.todo: list[f.Want] = []
        self.tell(f.Started())

    def tell(self, fact: f.Fact) -> None:
        self.journal.append(fact)
        self.todo += self.machine.apply(fact, len(self.journal))

    def crash(self) -> None:
        """Begin again from the journal."""
        self.machine = folded(self.plan, self.journal)
        self.todo = self.machine.outstanding()

    def go(self) -> None:
        for _ in range(2_000):
            if self.machine.is_over:
                return
            lot = self.dice.random()
            if lot < 0.03:
                self.crash()
            elif lot < 0.05:
                self.tell(f.Stopped(cancelled=self.dice.random() < 0.5))
            elif lot < 0.07:
                self.tell(f.Paused())
            elif lot < 0.2:
                self.tell(f.Resumed() if self.dice.random() < 0.5 else f.Signalled("go"))
            elif self.todo:
                self.perform(self.todo.pop(self.dice.randrange(len(self.todo))))
        raise AssertionError(f"it does not end: {self.journal[-20:]}")

    def perform(self, want: f.Want) -> None:
        if not self.machine.wants(want):
            return
        lot = self.dice.random()
        match want:
            case f.Begin(name, revision):
                many = 1 if self.plan.steps[name].kind is not CONTRACT else self.dice.randrange(4)
                wake = 1 if self.plan.steps[name].kind is Kind.TIMER else 0
                passed = self.machine.is_passed_over(self.plan.steps[name])
                skipped, failed = passed or lot < 0.1, lot > 0.95 and not passed
                self.tell(f.Begun(name, revision, many, skipped, failed, wake))
            case f.Do(name, revision, items):
                for item in items:
                    self.done.append((name, revision, item))
                    state = StepState.SUCCEEDED if self.dice.random() < 0.8 else StepState.FAILED
                    self.tell(f.ItemEnded(name, revision, item, state))
            case f.Stop(name, revision, items):
                for item in items:
                    self.tell(f.ItemEnded(name, revision, item, StepState.CANCELLED))
            case f.Undo(name, revision):
                state = StepState.SUCCEEDED if lot < 0.9 else StepState.FAILED
                self.tell(f.ItemEnded(name, revision, 0, state, undo=True))
            case f.Wake(name, revision, _):
                self.tell(f.Woken(name, revision))
            case f.End(state):
                self.tell(f.Ended(state))


def folded(plan: Plan, journal: list[f.Fact]) -> Machine:
    machine = Machine(plan)
    for at, fact in enumerate(journal, 1):
        machine.apply(fact, at)
    return machine


def shape(machine: Machine) -> object:
    return (
        machine.state,
        machine.revision,
        machine.paused,
        {
            name: tuple(getattr(step, slot) for slot in step.__slots__ if slot != "todo")
            for name, step in machine.steps.items()
        },
        machine.outstanding(),
    )


@given(plans(), st.integers(0, 2**32))
def test_every_run_ends_whatever_happens_and_its_journal_says_all(plan, seed):
    engine = Engine(plan, seed)
    engine.go()
    again = folded(plan, engine.journal)
    assert shape(again) == shape(engine.machine)
    if engine.machine.state is RunState.SUCCEEDED:
        good = StepState.SUCCEEDED, StepState.SKIPPED
        assert all(s.state in good or s.plan.continues for s in again.steps.values())


@given(plans(), st.integers(0, 2**32))
def test_a_run_can_be_retried_until_it_succeeds_or_was_undone(plan, seed):
    engine = Engine(plan, seed)
    for revision in range(1, 6):
        engine.go()
        if engine.machine.why_not_retry(""):
            return
        kept = {
            (name, item)
            for name, step in engine.machine.steps.items()
            if not step.tried_undo
            for item, state in step.ended.items()
            if state is StepState.SUCCEEDED and not step.open
        }
        before = len(engine.done)
        engine.tell(f.Retried("", revision))
        if engine.dice.random() < 0.5:
            engine.crash()
        good = {n for n, s in engine.machine.steps.items() if s.state is not StepState.PENDING}
        engine.go()
        assert not {(n, i) for n, _, i in engine.done[before:] if n in good} & kept
