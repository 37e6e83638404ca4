"""The modes of agents without a mesh: plans, turns and schedules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.agent import Agent, Context, Failed
from muster.agent.modes.autonomous import Report, Turn, turns_of, work_through
from muster.agent.modes.collaborative import Answer, Case, Question, Step, Task, collaborate
from muster.agent.modes.planning import in_order, step_of_json
from muster.agent.modes.scheduled import schedule, scheduled, spec_of
from muster.agent.testing import Bench
from muster.model import limits
from muster.v1.schedule_pb2 import OVERLAP_POLICY_QUEUE

# --- plans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ([Task("a/b", "c.d")], "'a/b' is no task's name"),
        ([Task("a", "c.d"), Task("a", "c.d")], "two tasks are called a"),
        ([Task("a", "c.d", after=["b"])], "a comes after b, and there is no such task"),
        (
            [Task("a", "c.d", after=["b"]), Task("b", "c.d", after=["a"])],
            "its tasks wait for each other: a, b",
        ),
        ([Task(f"t{n}", "c.d") for n in range(257)], "it has 257 tasks, and 256 is the most"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(tasks: Sequence[Task], why: str) -> None:
    with pytest.raises(Failed, match=why) as raised:
        in_order(tasks, Case(None))
    assert raised.value.permanent


def test_tasks_come_after_those_they_wait_for_and_are_not_done_again() -> None:
    tasks = [Task("c", "x.y", after=["b"]), Task("b", "x.y", after=["a"]), Task("a", "x.y")]
    assert [task.name for task in in_order(tasks, Case(None))] == ["a", "b", "c"]
    done = Case(None, results={"a": 1}, failures={"b": {"code": "X", "message": ""}})
    assert [task.name for task in in_order(tasks, done)] == ["c"]


@pytest.mark.parametrize("said", [None, {}, {"answer": 1, "tasks": []}, {"ask": {"txt": "?"}}])
def test_what_no_planner_says_is_refused(said: Any) -> None:
    with pytest.raises(Failed, match="PLAN_INVALID"):
        step_of_json(said)


def colleague(planner: Any) -> Agent:
    agent = Agent("colleague")

    @agent.capability("do.together")
    async def together(ctx: Context, goal: str) -> Any:
        return await collaborate(ctx, planner, goal)

    return agent


async def test_tasks_that_do_not_wait_for_each_other_are_done_at_once() -> None:
    both, meet = set[str](), asyncio.Event()

    def plan(case: Case) -> Step:
        if case.results:
            return Answer(case.results)
        third = Task("c", "do.c", lambda so_far: dict(so_far.results), after=["a", "b"])
        return [third, Task("a", "do.a"), Task("b", "do.b")]

    bench = Bench(colleague(plan))

    def does(name: str) -> Any:
        async def do(_: Any) -> str:
            both.add(name)
            if len(both) == 2:
                meet.set()
            await meet.wait()
            return name.upper()

        return do

    bench.child("do.a", does=does("a"))
    bench.child("do.b", does=does("b"))
    bench.child("do.c", does=lambda given: given)
    run = await bench.run("do.together", {"goal": "g"})
    assert run.output == {"a": "A", "b": "B", "c": {"a": "A", "b": "B"}}


async def test_a_capability_can_plan_and_what_it_said_is_found_again() -> None:
    bench = Bench(colleague("plan.make"))

    def plan(case: dict[str, Any]) -> dict[str, Any]:
        if "who" not in case["answers"]:
            return {"ask": {"id": "who", "text": "Who?"}}
        if not case["results"]:
            return {
                "tasks": [{"name": "greet", "capability": "do.greet", "input": case["answers"]}]
            }
        return {"answer": case["results"]["greet"]}

    bench.child("plan.make", does=plan)
    bench.child("do.greet", does=lambda given: f"hello {given['who']}")
    bench.person("who", answers="Ada")
    run = await bench.run("do.together", {"goal": "g"})
    assert run.output == "hello Ada"
    assert [call.key for call in run.children] == ["plan.1", "plan.2", "task.greet", "plan.3"]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ([], "no task that is still to be done"),
        (Question("q", "Again?"), "q has been asked, and is asked again"),
    ],
)
async def test_a_planner_that_goes_round_in_circles_is_told_so(step: Step, why: str) -> None:
    bench = Bench(colleague(lambda _: step))
    bench.person("q", answers="no")
    run = await bench.run("do.together", {"goal": "g"})
    assert run.failure is not None
    assert why in run.failure.message


# --- turns ----------------------------------------------------------------------------------------


def test_turns_go_round_and_attempts_on_one_capability_are_one_turn() -> None:
    assert turns_of(0, ["a"], 2) == [Turn("a", 3)]
    assert turns_of(0, ["a", "b"], 2) == [Turn("a", 1), Turn("b", 1), Turn("a", 1)]
    assert turns_of(4, ["a", "b", "c"], 2) == [Turn("b", 1), Turn("c", 1), Turn("a", 1)]
    assert turns_of(1, ["a", "b"], 0) == [Turn("b", 1)]


@given(
    st.integers(0, 1000),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=5),
    st.integers(0, limits.AUTONOMOUS_RETRIES_MAX),
)
def test_there_are_never_more_attempts_than_retries_allow(
    number: int, capabilities: list[str], retries: int
) -> None:
    turns = turns_of(number, capabilities, retries)
    assert sum(turn.attempts for turn in turns) == retries + 1
    assert turns[0].capability == capabilities[number % len(capabilities)]


async def test_a_stream_of_tasks_is_worked_through_with_a_report_of_each() -> None:
    agent = Agent("boss")

    async def source() -> AsyncIterator[dict[str, int]]:
        for number in range(5):
            yield {"n": number}

    @agent.capability("work.all")
    async def all_of_them(ctx: Context) -> list[Report]:
        return await work_through(ctx, source(), ["do.it"], at_once=2, told=ctx.output)

    bench = Bench(agent)

    def do(given: Any) -> Any:
        if given["n"] == 3:
            raise Failed("ODD", "three")
        return given["n"]

    bench.child("do.it", does=do)
    run = await bench.run("work.all")
    assert [each["done"] for each in run.output] == [True, True, True, False, True]
    assert run.output[3]["code"] == "ODD"
    assert sorted(each["number"] for each in run.chunks) == [0, 1, 2, 3, 4]
    assert [call.attempts for call in run.children] == [3] * 5
    assert run.logs[0].message == "task 3 failed: ODD: three"


async def test_what_breaks_the_whole_is_raised_as_it_is() -> None:
    agent = Agent("boss")

    @agent.capability("work.all")
    async def all_of_them(ctx: Context) -> None:
        async def told(report: Report) -> None:
            raise Failed("ENOUGH", "no more")

        await work_through(ctx, [{}, {}], ["do.it"], told=told)

    bench = Bench(agent)
    bench.child("do.it", returns=1)
    run = await bench.run("work.all")
    assert run.failure is not None
    assert run.failure.code == "ENOUGH"


# --- schedules ------------------------------------------------------------------------------------


def test_a_schedule_says_when_what_and_with_which_input() -> None:
    agent = Agent("reporter")

    @scheduled(
        agent, "report.write", {"days": 2}, cron="0 7 * * *", time_zone="Europe/Berlin",
        overlap="queue", queue_max=3, jitter=5, timeout=60, note="daily",
    )  # fmt: skip
    async def write(days: int) -> None: ...

    (made,) = agent.renamed("reporter-2").schedules.values()
    spec = spec_of(made)
    assert made.name == "report.write"
    assert (spec.cron.expression, spec.cron.time_zone) == ("0 7 * * *", "Europe/Berlin")
    assert (spec.overlap, spec.queue_max, spec.note) == (OVERLAP_POLICY_QUEUE, 3, "daily")
    assert (spec.jitter.seconds, spec.action.contract.timeout.seconds) == (5, 60)
    assert spec.action.contract.request.capability.name == "report.write"
    assert spec.action.contract.request.payload.json == '{"days":2}'


def test_a_schedule_without_times_or_twice_of_a_name_is_refused() -> None:
    agent = Agent("reporter")
    with pytest.raises(ValueError, match="either cron, or every"):
        schedule(agent, "report.write")
    schedule(agent, "report.write", every=5)
    with pytest.raises(ValueError, match="has a schedule called"):
        schedule(agent, "report.write", every=6)
