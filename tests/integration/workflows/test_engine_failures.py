"""What every engine does when something fails."""

from __future__ import annotations

import json

import pytest

from muster.v1.workflow_pb2 import (
    FAILURE_POLICY_CONTINUE,
    Compensation,
    FanIn,
    Wait,
)
from muster.v1.workflow_run_pb2 import (
    RUN_STATE_FAILED,
    RUN_STATE_SUCCEEDED,
)
from muster.wire.times import duration_of_seconds
from tests.support.workflows import Flows, Workers, output, states, step


async def test_a_failure_undoes_what_was_done_last_first_and_fails_the_run(
    flow: Flows, workers: Workers
) -> None:
    def undo(name: str) -> Compensation:
        made = Compensation(input=json.dumps({"what": f"${{steps.{name}.output}}"}))
        made.capability.name = "test.undo"
        return made

    workers.failing = {"c"}
    await flow.register(
        "saga",
        step("a", "test.say", input={"text": "a"}, compensate=undo("a")),
        step("b", "test.say", "a", input={"text": "b"}, compensate=undo("b")),
        step("c", "test.say", "b", input={"text": "c"}, compensate=undo("c")),
        step("d", "test.say", "c", input={"text": "d"}),
    )
    run = await flow.end(await flow.start("saga"))
    assert run.state == RUN_STATE_FAILED
    assert run.failure.code == "STEP_FAILED"
    assert "step c failed with TEST" in run.failure.message
    assert workers.undone == ["B", "A"]
    assert states(run) == {"a": "SUCCEEDED", "b": "SUCCEEDED", "c": "FAILED", "d": "CANCELLED"}
    assert [each.compensated for each in run.steps] == [True, True, False, False]


async def test_a_failure_stops_what_is_being_done_beside_it(flow: Flows, workers: Workers) -> None:
    workers.failing = {"x"}
    await flow.register(
        "beside",
        step("held", "test.hold", input={"text": "held"}),
        step("wait", wait=Wait(signal="never")),
        step("x", "test.say", input={"text": "x"}),
    )
    run = await flow.end(await flow.start("beside"))
    assert states(run) == {"held": "CANCELLED", "wait": "CANCELLED", "x": "FAILED"}


async def test_a_step_may_fail_where_the_workflow_says_so(flow: Flows, workers: Workers) -> None:
    workers.failing = {"a"}
    await flow.register(
        "lenient",
        step("a", "test.say", input={"text": "a"}, on_failure=FAILURE_POLICY_CONTINUE),
        step("b", "test.say", "a", input={"text": "after ${steps.a.state}"}),
        output="${steps.a.failure.code}",
    )
    run = await flow.end(await flow.start("lenient"))
    assert run.state == RUN_STATE_SUCCEEDED
    assert output(run) == "TEST"
    assert workers.ran["after FAILED"] == 1


@pytest.mark.parametrize(
    ("rule", "failing", "good"),
    [
        ({"first": 1}, ["0", "1"], True),
        ({"quorum": 2}, ["0"], True),
        ({"quorum": 2}, ["0", "1"], False),
        ({"tolerate": 1}, ["2"], True),
        ({"tolerate": 1}, ["1", "2"], False),
    ],
)
async def test_items_decide_about_their_step_by_its_rule(
    flow: Flows, workers: Workers, rule: dict[str, int], failing: list[str], good: bool
) -> None:
    workers.failing = set(failing)
    await flow.register(
        "rules",
        step(
            "say",
            "test.say",
            for_each="['0', '1', '2']",
            input={"text": "${item}"},
            fan_in=FanIn(**rule),
        ),
        output="${steps.say.output}",
    )
    run = await flow.end(await flow.start("rules"))
    assert run.state == (RUN_STATE_SUCCEEDED if good else RUN_STATE_FAILED), run
    if good:
        assert set(output(run)).isdisjoint(failing)


async def test_an_expression_without_a_value_fails_its_step_and_says_which(flow: Flows) -> None:
    await flow.register("novalue", step("a", "test.say", input={"text": "${input.nothing}"}))
    run = await flow.end(await flow.start("novalue"))
    assert run.steps[0].failure.code == "EXPRESSION"
    assert "nothing" in run.steps[0].failure.message


async def test_a_payload_that_does_not_fit_fails_its_step(flow: Flows) -> None:
    await flow.register("misfit", step("a", "test.say", input={"text": "${input.text}"}))
    run = await flow.end(await flow.start("misfit", {"text": 5}))
    assert run.steps[0].failure.code == "PAYLOAD_MISMATCH"


async def test_a_run_whose_time_is_over_fails(flow: Flows, workers: Workers) -> None:
    await flow.register(
        "late",
        step("hold", "test.hold", input={"text": "x"}),
        timeout=duration_of_seconds(0.4),
    )
    run = await flow.end(await flow.start("late"))
    assert run.state == RUN_STATE_FAILED
    assert run.failure.code == "RUN_TIMEOUT"
