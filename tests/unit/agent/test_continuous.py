"""Continuous agents without a mesh: minds that count each event once, whatever is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.agent import Agent, Context, Failed
from muster.agent.bench_past import BenchPast
from muster.agent.context import Facts
from muster.agent.modes.continuous import Bounds, Continuous, Event, Mind, id_for
from muster.model.errors import MusterError, Unavailable


def event(number: int, data: Any = None) -> Event:
    return Event("topic.orders", f"e{number}", "t", "/tenants/t/agents/shop", data)


# --- minds ----------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.lists(st.integers(0, 30), max_size=60), st.sets(st.integers(0, 59)))
def test_each_event_counts_once_whenever_the_process_dies(
    numbers: list[int], deaths: set[int]
) -> None:
    """Events come again and again; after some of them all but what is kept is lost."""
    mind, counted = Mind({"sum": 0}), list[int]()
    for at, number in enumerate(numbers):
        if not mind.knows(event(number)):
            changed = mind.copy()
            changed.state["sum"] += number
            changed.take(event(number), 0.0)
            if at in deaths:  # before it is kept: it comes again later, or never
                continue
            mind = changed
            counted.append(number)
        if at in deaths:
            mind = Mind.of(mind.kept())
    assert len(set(counted)) == len(counted)
    assert mind.state["sum"] == sum(counted)
    assert mind.events == len(counted)


def test_the_same_id_from_another_source_is_another_event() -> None:
    mind = Mind()
    mind.take(event(1), 0.0)
    assert mind.knows(event(1))
    assert not mind.knows(Event("topic.orders", "e1", "t", "/somewhere/else", None))
    assert id_for(event(1)) != id_for(event(2))
    assert id_for(event(1), "x").endswith(".x")


def test_the_oldest_events_and_entries_are_forgotten() -> None:
    mind = Mind(bounds=Bounds(history=3, remembered=5))
    for number in range(10):
        mind.note(f"n{number}")
        mind.take(event(number), float(number))
    assert [each.text for each in mind.history] == ["n7", "n8", "n9"]
    assert [number for number in range(10) if mind.knows(event(number))] == [5, 6, 7, 8, 9]
    assert mind.events == 10


def test_a_history_gives_way_where_there_is_no_room_and_state_does_not() -> None:
    mind = Mind({"large": "x" * 300}, Bounds(history=50, size_bytes=700))
    for number in range(20):
        mind.note("y" * 50)
        mind.take(event(number), 0.0)
    mind.bounds = Bounds(history=50, size_bytes=1100)
    kept = mind.kept()
    assert kept["state"] == mind.state
    assert 0 < len(kept["history"]) < 20
    mind.state["large"] = "x" * 2000
    with pytest.raises(Failed, match="STATE_TOO_LARGE"):
        mind.kept()


@pytest.mark.parametrize("value", [None, 3, {}, {"format": 2}, {"format": 1, "state": {}}])
def test_what_is_no_mind_is_not_read_as_one(value: Any) -> None:
    with pytest.raises(Failed, match="STATE_UNREADABLE"):
        Mind.of(value)


# --- continuous agents ----------------------------------------------------------------------------


class Desk:
    """What a context of a handler needs, with the state of a bench behind it."""

    def __init__(self, past: BenchPast) -> None:
        self.past = past
        self.fails: list[MusterError] = []
        self.after_put: list[MusterError] = []

    def context(self) -> Context:
        return Context(Facts("", 0, agent="till"), self)  # type: ignore[arg-type]

    async def consult(self, what: str, args: Any, contents: Any = ()) -> Any:
        if what == "put_state" and self.fails:
            raise self.fails.pop(0)
        said = self.past.consult("till", what, args, contents)
        if what == "put_state" and self.after_put:
            raise self.after_put.pop(0)
        return said


def counting(past: BenchPast) -> tuple[Continuous, Desk, list[str]]:
    """A process with an agent that counts, and the events that its function was called with."""
    agent, called, desk = Agent("till"), list[str](), Desk(past)
    running = Continuous(agent, {"n": 0})

    @running.on("orders")
    async def count(event: Event, mind: Mind) -> None:
        called.append(event.id)
        mind.state["n"] += 1
        if event.data == "poison":
            raise ValueError("poison")

    return running, desk, called


async def hear(running: Continuous, desk: Desk, each: Event) -> None:
    handler = running.agent.handlers["topic.orders"]
    await handler.function(each, desk.context())


async def kept(running: Continuous, desk: Desk) -> Mind:
    return await running.read(desk.context())


async def test_an_event_that_comes_again_to_another_process_counts_once() -> None:
    past = BenchPast()
    running, desk, _ = counting(past)
    for each in (event(1), event(2), event(2)):
        await hear(running, desk, each)
    again, desk, called = counting(past)
    for each in (event(1), event(2), event(3)):
        await hear(again, desk, each)
    assert called == ["e3"]
    assert (await kept(again, desk)).state == {"n": 3}


async def test_a_write_whose_answer_was_lost_is_found() -> None:
    running, desk, called = counting(BenchPast())
    desk.after_put = [Unavailable("the connection broke")]
    await hear(running, desk, event(1))
    assert called == ["e1"]
    assert (await kept(running, desk)).state == {"n": 1}
    await hear(running, desk, event(2))
    assert (await kept(running, desk)).state == {"n": 2}


async def test_what_somebody_else_has_written_is_read_again() -> None:
    past = BenchPast()
    one, desk_of_one, _ = counting(past)
    two, desk_of_two, _ = counting(past)
    await hear(one, desk_of_one, event(1))
    await hear(two, desk_of_two, event(2))
    await hear(one, desk_of_one, event(3))
    assert (await kept(one, desk_of_one)).state == {"n": 3}


async def test_poison_is_passed_over_after_three_times() -> None:
    running, desk, called = counting(BenchPast())
    for _ in range(2):
        with pytest.raises(ValueError, match="poison"):
            await hear(running, desk, event(1, "poison"))
    await hear(running, desk, event(1, "poison"))
    mind = await kept(running, desk)
    assert called == ["e1"] * 3
    assert (mind.state, mind.failed, mind.events) == ({"n": 0}, 1, 1)
    assert [each.text for each in mind.history] == ["failed: ValueError: poison"]


async def test_every_copy_has_a_place_of_its_own_on_the_bus() -> None:
    running, _, _ = counting(BenchPast())
    for name in ("till-1", "till-2"):
        (subscription,) = running.agent.renamed(name).spec().event_subscriptions
        assert subscription.group == f"{name}.own"


def test_what_cannot_be_a_continuous_agent_is_refused() -> None:
    with pytest.raises(ValueError, match="idle for 0 seconds"):
        Continuous(Agent("a"), idle_seconds=0)
    running = Continuous(Agent("a"))
    with pytest.raises(TypeError, match="must be async, and take an event, a mind"):

        @running.on("orders")
        def hear_it(event: Event, mind: Mind) -> None: ...

    with pytest.raises(ValueError, match="not shared"):
        Agent("a").on("orders", own=True, competing=True)(hear_alone)


async def hear_alone(event: Event) -> None: ...
