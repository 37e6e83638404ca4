"""A run's interpreter in the engine: what comes, in whichever order, and what is wanted then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from muster.engine.folding import Folding
from muster.v1.engine_pb2 import ControlFlow, RunEntries
from muster.v1.workflow_run_pb2 import (
    RUN_STATE_SUCCEEDED,
    STEP_STATE_SUCCEEDED,
    ItemEnded,
    RunEnded,
    RunEvent,
    RunStarted,
    StepBegun,
    StepWoken,
)
from muster.wire.times import timestamp_of_ms
from muster.workflow import facts as f
from muster.workflow.exchange import (
    message_of_plan,
    message_of_want,
    plan_of_message,
    want_of_message,
)
from muster.workflow.facts import RunState
from muster.workflow.plan import Kind, Plan, PlanStep, Rule

DEADLINE_MS = 90_000

PLAN = Plan(
    {
        "a": PlanStep("a", Kind.CONTRACT),
        "b": PlanStep("b", Kind.CONTRACT, ("a",), concurrency=2),
        "t": PlanStep("t", Kind.TIMER, ("a",)),
    }
)


def flow() -> ControlFlow:
    return message_of_plan(PLAN)


def journal() -> list[RunEvent]:
    """A run from its beginning to its end."""
    ok = STEP_STATE_SUCCEEDED
    timer = StepBegun(step="t", items=1, wake_time=timestamp_of_ms(5_000))
    events = [
        RunEvent(started=RunStarted(deadline=timestamp_of_ms(DEADLINE_MS))),
        RunEvent(begun=StepBegun(step="a", items=1)),
        RunEvent(item_ended=ItemEnded(step="a", state=ok)),
        RunEvent(begun=StepBegun(step="b", items=3)),
        RunEvent(begun=timer),
        RunEvent(item_ended=ItemEnded(step="b", index=1, state=ok)),
        RunEvent(item_ended=ItemEnded(step="b", index=0, state=ok)),
        RunEvent(woken=StepWoken(step="t")),
        RunEvent(item_ended=ItemEnded(step="b", index=2, state=ok)),
        RunEvent(ended=RunEnded(state=RUN_STATE_SUCCEEDED)),
    ]
    for number, event in enumerate(events, 1):
        event.sequence = number
        event.time.CopyFrom(timestamp_of_ms(1_000 + number))
    return events


def entries(*events: RunEvent) -> RunEntries:
    return RunEntries(sequence=max((e.sequence for e in events), default=0), entries=events)


def begun(count: int) -> Folding:
    """With so many entries folded, and all that was wanted asked for."""
    folding = Folding()
    folding.begin(flow())
    folding.take(entries(*journal()[:count]))
    folding.fold()
    folding.wants(0)
    return folding


def test_what_is_said_before_the_plan_is_there_waits_for_it() -> None:
    folding = Folding()
    folding.take(entries(*journal()[:1]))
    folding.fold()
    assert folding.lacks()
    folding.begin(flow())
    folding.fold()
    assert not folding.lacks()
    assert folding.wants(0) == [f.Begin("a", 0)]
    assert folding.wake_ms == DEADLINE_MS


def test_a_gap_is_noticed_and_nothing_is_folded_beyond_it() -> None:
    folding = begun(2)
    folding.take(entries(journal()[3]))
    folding.fold()
    assert folding.lacks()
    assert folding.machine.sequence == 2
    folding.take(entries(journal()[2]))
    folding.fold()
    assert not folding.lacks()
    assert folding.machine.sequence == 4


def test_a_word_of_entries_that_did_not_come_is_a_gap_too() -> None:
    folding = begun(2)
    folding.take(RunEntries(sequence=5))
    assert folding.lacks()


def test_what_came_before_is_dropped() -> None:
    folding = begun(4)
    folding.take(entries(*journal()[:4]))
    folding.fold()
    assert not folding.has_news()
    assert folding.wants(0) == []


def test_an_instant_is_wanted_when_it_has_come_and_until_then_waited_for() -> None:
    folding = begun(5)
    assert folding.wake_ms == 5_000
    folding.wake()
    assert folding.wants(4_999) == []
    assert folding.wake_ms == 5_000
    folding.wake()
    assert folding.wants(5_000) == [f.Wake("t", 0, 5_000)]
    assert folding.wake_ms == DEADLINE_MS


def test_all_that_has_not_come_true_can_be_wanted_once_more() -> None:
    folding = begun(5)
    folding.want_all()
    assert folding.wants(0) == [f.Do("b", 0, (0, 1))]
    assert folding.wake_ms == 5_000


def test_a_run_is_over_when_its_last_entry_is_and_no_other_is_spoken_of() -> None:
    folding = begun(10)
    assert folding.is_over()
    assert folding.machine.state is RunState.SUCCEEDED
    folding.take(RunEntries(sequence=11))  # somebody retries it
    assert not folding.is_over()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 10), st.booleans()), max_size=12))
def test_whatever_comes_in_whichever_order_the_same_follows(parts) -> None:
    """`parts`: from, how many, and whether the load that fills a gap comes right after."""
    events = journal()
    expected = Folding()
    expected.begin(flow())
    wanted: list[f.Want] = []
    for event in events:
        expected.take(entries(event))
        expected.fold()
        wanted += expected.wants(0)
    folding, found = Folding(), list[f.Want]()
    folding.begin(flow())
    for first, count, is_loaded in [*parts, (0, 10, True)]:
        some = events[first : first + count]
        folding.take(entries(*some))
        if is_loaded:
            folding.take(entries(*events[folding.machine.sequence :]))
        folding.fold()
        found += folding.wants(0)
    assert found == wanted
    assert folding.machine.sequence == 10
    assert folding.is_over()


# --- on the wire ----------------------------------------------------------------------------------

STEPS = st.builds(
    PlanStep,
    name=st.sampled_from(["x", "y"]),
    kind=st.sampled_from(Kind),
    depends_on=st.lists(st.sampled_from(["p", "q"]), unique=True).map(tuple),
    conditional=st.booleans(),
    concurrency=st.integers(1, 10_000),
    rule=st.sampled_from(Rule),
    count=st.integers(0, 10_000),
    continues=st.booleans(),
    undoable=st.booleans(),
    signal=st.sampled_from(["", "go"]),
)
NUMBERS = st.integers(0, 2**31)
INDEXES = st.lists(NUMBERS, max_size=5).map(tuple)
WANTS = st.one_of(
    st.builds(f.Begin, st.text(max_size=5), NUMBERS),
    st.builds(f.Do, st.text(max_size=5), NUMBERS, INDEXES),
    st.builds(f.Stop, st.text(max_size=5), NUMBERS, INDEXES),
    st.builds(f.Undo, st.text(max_size=5), NUMBERS),
    st.builds(f.Wake, st.text(max_size=5), NUMBERS, st.integers(1, 10**13)),
    st.builds(f.End, st.sampled_from(RunState)),
)


@given(st.lists(STEPS, unique_by=lambda step: step.name))
def test_a_plan_is_the_same_after_its_journey(steps) -> None:
    plan = Plan({step.name: step for step in steps})
    assert plan_of_message(message_of_plan(plan)) == plan


@given(WANTS)
def test_a_want_is_the_same_after_its_journey(want) -> None:
    assert want_of_message(message_of_want(want)) == want
