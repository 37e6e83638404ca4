import pytest

from muster.workflow import facts as f
from muster.workflow.facts import RunState, StepState
from muster.workflow.machine import Machine
from muster.workflow.plan import Kind, Plan, PlanStep, Rule

CONTRACT = Kind.CONTRACT


def plan(*steps: PlanStep) -> Plan:
    return Plan({step.name: step for step in steps})


def step(name: str, *after: str, **how) -> PlanStep:
    return PlanStep(name, how.pop("kind", CONTRACT), tuple(after), **how)


class Run:
    """A run that is told what happens, and its journal."""

    def __init__(self, *steps: PlanStep, deadline_ms: int = 0) -> None:
        self.machine = Machine(plan(*steps))
        self.journal: list[f.Fact] = []
        self.wants = self.tell(f.Started(deadline_ms=deadline_ms))

    def tell(self, fact: f.Fact) -> list[f.Want]:
        self.journal.append(fact)
        self.wants = self.machine.apply(fact, len(self.journal))
        return self.wants

    def begin(self, name: str, items: int = 1, **how) -> list[f.Want]:
        return self.tell(f.Begun(name, self.machine.revision, items, **how))

    def end(self, name: str, item: int = 0, state=StepState.SUCCEEDED, **how) -> list[f.Want]:
        revision = self.machine.steps[name].revision
        return self.tell(f.ItemEnded(name, revision, item, state, **how))

    def do(self, name: str) -> list[f.Want]:
        self.begin(name)
        return self.end(name)

    def fail(self, name: str, item: int = 0) -> list[f.Want]:
        return self.end(name, item, StepState.FAILED)


def test_steps_without_dependencies_begin_at_once_and_others_when_those_have_ended():
    run = Run(step("a"), step("b"), step("c", "a", "b"))
    assert run.wants == [f.Begin("a", 0), f.Begin("b", 0)]
    assert run.begin("a") == [f.Do("a", 0, (0,))]
    assert run.end("a") == []
    run.begin("b")
    assert run.end("b") == [f.Begin("c", 0)]
    run.begin("c")
    assert run.end("c") == [f.End(RunState.SUCCEEDED)]
    run.tell(f.Ended(RunState.SUCCEEDED))
    assert run.machine.is_over
    assert run.machine.outstanding() == []


def test_items_are_given_out_in_order_as_many_at_a_time_as_the_step_allows():
    run = Run(step("a", concurrency=2))
    assert run.begin("a", 4) == [f.Do("a", 0, (0, 1))]
    assert run.end("a", 1) == [f.Do("a", 0, (2,))]
    assert run.end("a", 0) == [f.Do("a", 0, (3,))]
    run.end("a", 3)
    assert run.end("a", 2) == [f.End(RunState.SUCCEEDED)]


def test_a_step_of_no_items_has_succeeded():
    run = Run(step("a"))
    assert run.begin("a", 0) == [f.End(RunState.SUCCEEDED)]


@pytest.mark.parametrize(
    ("rule", "count", "ends", "state"),
    [
        (Rule.ALL, 0, "sss", StepState.SUCCEEDED),
        (Rule.ALL, 0, "sf", StepState.FAILED),
        (Rule.FIRST, 2, "fss", StepState.SUCCEEDED),
        (Rule.FIRST, 1, "s", StepState.SUCCEEDED),
        (Rule.FIRST, 2, "ff", StepState.FAILED),
        (Rule.QUORUM, 2, "ss", StepState.RUNNING),
        (Rule.QUORUM, 2, "ssf", StepState.SUCCEEDED),
        (Rule.QUORUM, 2, "ff", StepState.FAILED),
        (Rule.TOLERATE, 1, "sfs", StepState.SUCCEEDED),
        (Rule.TOLERATE, 1, "ff", StepState.FAILED),
        (Rule.TOLERATE, 5, "fff", StepState.SUCCEEDED),
    ],
)
def test_the_rule_decides_when_a_step_of_three_items_has_ended(rule, count, ends, state):
    run = Run(step("a", rule=rule, count=count, continues=True))
    run.begin("a", 3)
    for item, letter in enumerate(ends):
        run.end("a", item, StepState.SUCCEEDED if letter == "s" else StepState.FAILED)
    assert run.machine.steps["a"].state is state


def test_what_is_too_much_is_stopped_and_counts_no_more():
    run = Run(step("a", rule=Rule.FIRST, count=1), step("b", "a"))
    run.begin("a", 3)
    assert run.end("a", 2) == [f.Stop("a", 0, (0, 1)), f.Begin("b", 0)]
    run.do("b")
    assert run.end("a", 0, StepState.SUCCEEDED) == []
    assert run.end("a", 1, StepState.CANCELLED) == [f.End(RunState.SUCCEEDED)]
    assert run.machine.steps["a"].ended == {2: StepState.SUCCEEDED}


def test_a_skipped_step_counts_as_ended_and_whoever_depends_on_such_steps_alone_is_passed_over():
    run = Run(step("a", conditional=True), step("b", "a"), step("c"), step("d", "b", "c"))
    assert run.begin("a", skipped=True) == [f.Begin("b", 0)]
    passed = run.machine.is_passed_over
    steps = run.machine.plan.steps
    assert passed(steps["b"])
    run.begin("b", skipped=True)
    run.do("c")
    assert not passed(steps["d"])
    assert not passed(steps["a"])


def test_a_failure_stops_what_is_being_done_undoes_what_was_done_last_first_and_fails_the_run():
    run = Run(step("a", undoable=True), step("b", "a", undoable=True), step("c", "b"), step("x"))
    for name in "ab":
        run.do(name)
    run.begin("x")
    run.begin("c")
    assert run.fail("c") == [f.Stop("x", 0, (0,))]
    assert run.machine.state is RunState.UNWINDING
    assert run.end("x", 0, StepState.CANCELLED) == [f.Undo("b", 0)]
    assert run.machine.steps["x"].state is StepState.CANCELLED
    assert run.end("b", undo=True) == [f.Undo("a", 0)]
    assert run.end("a", 0, StepState.FAILED, undo=True) == [f.End(RunState.FAILED)]
    assert run.machine.steps["b"].undone
    assert not run.machine.steps["a"].undone
    assert run.machine.failed_step == "c"


def test_what_succeeded_of_a_step_that_failed_is_undone_too():
    run = Run(step("a", undoable=True))
    run.begin("a", 2)
    run.end("a", 0)
    assert run.fail("a", 1) == [f.Undo("a", 0)]


def test_a_failure_that_the_run_survives_lets_it_go_on():
    run = Run(step("a", continues=True), step("b", "a"))
    run.begin("a")
    assert run.fail("a") == [f.Begin("b", 0)]
    assert run.do("b") == [f.End(RunState.SUCCEEDED)]


def test_a_step_that_cannot_begin_has_failed():
    run = Run(step("a"))
    assert run.begin("a", 0, failed=True) == [f.End(RunState.FAILED)]


def test_a_cancelled_run_ends_when_all_that_was_being_done_has_stopped():
    run = Run(step("a"), step("b", "a"))
    run.begin("a")
    assert run.tell(f.Stopped(cancelled=True)) == [f.Stop("a", 0, (0,))]
    assert run.end("a", 0, StepState.CANCELLED) == [f.End(RunState.CANCELLED)]
    run.tell(f.Ended(RunState.CANCELLED))
    assert run.machine.steps["b"].state is StepState.CANCELLED


def test_a_paused_run_begins_nothing_until_it_is_resumed():
    run = Run(step("a", concurrency=1), step("b"), step("c", "b"))
    run.begin("a", 2)
    run.begin("b")
    run.tell(f.Paused())
    assert run.end("a", 0) == []
    assert run.end("b") == []
    assert run.machine.outstanding() == []
    assert run.tell(f.Resumed()) == [f.Do("a", 0, (1,)), f.Begin("c", 0)]


def test_a_timer_wakes_its_step():
    run = Run(step("a", kind=Kind.TIMER), step("b", "a"))
    assert run.begin("a", wake_ms=500) == [f.Wake("a", 0, 500)]
    assert run.machine.outstanding() == [f.Wake("a", 0, 500)]
    assert run.machine.steps["a"].state is StepState.WAITING
    assert run.tell(f.Woken("a", 0)) == [f.Begin("b", 0)]


def test_a_signal_is_taken_once_by_the_step_that_waits_for_it_or_will():
    run = Run(*(step(n, kind=Kind.SIGNAL, signal="go") for n in "ab"), step("c", "a", "b"))
    run.tell(f.Signalled("go"))
    run.begin("a")
    assert run.machine.steps["a"].took == 2
    run.begin("b")
    assert run.tell(f.Signalled("other")) == []
    assert run.tell(f.Signalled("go")) == [f.Begin("c", 0)]
    assert run.machine.steps["b"].took == 6


def test_a_signal_that_does_not_come_in_time_fails_its_step():
    run = Run(step("a", kind=Kind.SIGNAL, signal="go"))
    assert run.begin("a", wake_ms=9) == [f.Wake("a", 0, 9)]
    assert run.tell(f.Woken("a", 0)) == [f.End(RunState.FAILED)]


def test_a_retry_does_again_what_failed_and_what_follows_and_keeps_what_succeeded():
    run = Run(step("a"), step("b", "a"), step("c", "b"))
    run.do("a")
    run.begin("b", 3)
    run.end("b", 0)
    run.fail("b", 1)
    run.end("b", 2, StepState.CANCELLED)
    run.tell(f.Ended(RunState.FAILED))
    assert run.machine.why_not_retry("b") == ""
    assert run.tell(f.Retried("", 1)) == [f.Begin("b", 1)]
    assert run.begin("b", 3) == [f.Do("b", 1, (1, 2))]
    run.end("b", 1)
    assert run.end("b", 2) == [f.Begin("c", 1)]
    # A word about the revision before changes nothing.
    assert run.tell(f.ItemEnded("b", 0, 1, StepState.FAILED)) == []


def test_a_retry_from_a_step_that_succeeded_does_all_of_it_again():
    run = Run(step("a"), step("b", "a"))
    run.begin("a", 2)
    run.end("a", 0)
    run.end("a", 1)
    run.begin("b")
    run.fail("b")
    run.tell(f.Ended(RunState.FAILED))
    assert run.tell(f.Retried("a", 1)) == [f.Begin("a", 1)]
    assert run.begin("a", 2) == [f.Do("a", 1, (0, 1))]


def test_what_was_undone_cannot_be_built_upon():
    run = Run(step("a", undoable=True), step("b", "a"))
    run.do("a")
    run.begin("b")
    run.fail("b")
    assert "RUNNING" not in run.machine.why_not_retry("b")
    run.end("a", undo=True)
    run.tell(f.Ended(RunState.FAILED))
    assert "a has been undone" in run.machine.why_not_retry("b")
    assert run.machine.why_not_retry("a") == ""
    assert run.machine.kept_in_fork("b") == []


def test_a_fork_keeps_what_ended_well_before_the_step_and_does_the_rest():
    steps = step("a"), step("b", "a"), step("c", "b"), step("x"), step("y", "x")
    run = Run(*steps)
    for name in "abx":
        run.do(name)
    kept = run.machine.kept_in_fork("b")
    assert kept == ["a", "x"]
    fork = Machine(plan(*steps))
    ended = {n: (f.ItemEnded(n, 0, 0, StepState.SUCCEEDED),) for n in kept}
    started = f.Started(tuple(f.Kept(f.Begun(n, 0), ended[n]) for n in kept))
    assert fork.apply(started, 1) == [f.Begin("b", 0), f.Begin("y", 0)]


def test_the_end_of_the_time_is_wanted_until_the_run_unwinds():
    run = Run(step("a"), deadline_ms=99)
    assert f.Wake("", 0, 99) in run.wants
    assert f.Wake("", 0, 99) in run.machine.outstanding()
    run.tell(f.Stopped(cancelled=False))
    assert run.machine.outstanding() == [f.End(RunState.FAILED)]
