"""What every engine does with the same workflows."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest

from muster.model.errors import (
    AlreadyExists,
    Code,
    FailedPrecondition,
    InvalidArgument,
    MusterError,
    NotFound,
)
from muster.v1 import inbox_service_pb2 as inbox
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.inbox_service_pb2_grpc import InboxServiceStub
from muster.v1.scheduler_service_pb2 import ListContractsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.v1.workflow_pb2 import (
    FAILURE_POLICY_CONTINUE,
    Compensation,
    FanIn,
    Gate,
    Wait,
    WorkflowSelector,
)
from muster.v1.workflow_run_pb2 import (
    RUN_STATE_CANCELLED,
    RUN_STATE_FAILED,
    RUN_STATE_SUCCEEDED,
    STEP_STATE_SUCCEEDED,
    RunState,
)
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from muster.wire.times import duration_of_seconds
from tests.support.meshes import Mesh
from tests.support.workflows import Flows, Workers, output, payload, states, step


async def refused(call) -> MusterError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_of_rpc(caught.value)


# --- the way through ------------------------------------------------------------------------------


async def test_a_run_does_its_steps_in_order_and_gives_back_its_output(
    flow: Flows, workers: Workers
) -> None:
    await flow.register(
        "greet",
        step("first", "test.say", input={"text": "${input.name}"}),
        step("second", "test.say", "first", input={"text": "hello ${steps.first.output}"}),
        output={"said": "${steps.second.output}"},
    )
    run = await flow.end(await flow.start("greet", {"name": "ann"}))
    assert run.state == RUN_STATE_SUCCEEDED, run
    assert output(run) == {"said": "HELLO ANN"}
    assert states(run) == {"first": "SUCCEEDED", "second": "SUCCEEDED"}
    assert workers.ran == {"ann": 1, "hello ANN": 1}


async def test_a_step_is_done_for_each_item_and_its_output_is_the_list_of_theirs(
    flow: Flows, workers: Workers
) -> None:
    await flow.register(
        "each",
        step("list", "test.list", input={"count": "${input.count}"}),
        step(
            "say",
            "test.say",
            "list",
            for_each="steps.list.output.items",
            concurrency=3,
            input={"text": "${index}-${item}"},
        ),
        output="${steps.say.output}",
    )
    run = await flow.end(await flow.start("each", {"count": 8}))
    assert output(run) == [f"{n}-{n}" for n in range(8)]
    say = (await flow.get(run.id)).steps[1]
    assert (say.items_total, say.items_succeeded) == (8, 8)
    assert [json.loads(item.output.json) for item in say.items] == output(run)
    assert len({item.contract_id for item in say.items}) == 8
    empty = await flow.end(await flow.start("each", {"count": 0}))
    assert output(empty) == []


async def test_conditions_choose_branches_and_a_join_waits_for_all_of_them(
    flow: Flows, workers: Workers
) -> None:
    await flow.register(
        "branch",
        step("left", "test.say", when="input.side == 'left'", input={"text": "l"}),
        step("lefter", "test.say", "left", input={"text": "ll"}),
        step("right", "test.say", when="input.side == 'right'", input={"text": "r"}),
        step("join", "test.say", "lefter", "right", input={"text": "j"}),
        output={"left": "${steps.left.state}", "right": "${steps.right.state}"},
    )
    run = await flow.end(await flow.start("branch", {"side": "right"}))
    assert states(run) == {
        "left": "SKIPPED",
        "lefter": "SKIPPED",
        "right": "SUCCEEDED",
        "join": "SUCCEEDED",
    }
    assert output(run) == {"left": "SKIPPED", "right": "SUCCEEDED"}
    assert set(workers.ran) == {"r", "j"}


async def test_a_step_can_be_a_run_of_another_workflow(flow: Flows, workers: Workers) -> None:
    await flow.register(
        "inner",
        step("say", "test.say", input={"text": "${input.text}"}),
        output={"said": "${steps.say.output}"},
    )
    await flow.register(
        "outer",
        step(
            "inner",
            for_each="input.texts",
            workflow=WorkflowSelector(name="inner"),
            input={"text": "${item}"},
        ),
        output="${steps.inner.output.map(each, each.said)}",
    )
    run = await flow.end(await flow.start("outer", {"texts": ["a", "b"]}))
    assert output(run) == ["A", "B"]
    for item in run.steps[0].items:
        child = await flow.get(item.run_id)
        assert (child.parent_id, child.parent_step) == (run.id, "inner")
        assert child.state == RUN_STATE_SUCCEEDED


async def test_large_outputs_pass_through_as_blobs_and_can_be_looked_into(flow: Flows) -> None:
    await flow.register(
        "fat",
        step("fat", "test.fat", input={"size": 70_000}),
        step("many", "test.say", for_each="[1, 2]", input={"text": "${item}" + "y" * 100}),
        output={"size": "${size(steps.fat.output)}", "all": "${steps.fat.output}"},
    )
    run = await flow.end(await flow.start("fat"))
    assert run.state == RUN_STATE_SUCCEEDED, run.failure
    assert run.output.WhichOneof("content") == "blob"


async def test_a_timer_lets_time_pass_and_a_signal_is_waited_for(flow: Flows) -> None:
    await flow.register(
        "waits",
        step("pause", wait=Wait(duration=duration_of_seconds(0.3))),
        step("go", "", "pause", wait=Wait(signal="go")),
        output={"go": "${steps.go.output}"},
    )
    run_id = await flow.start("waits")
    request = pb.SignalRunRequest(run_id=run_id, name="go", payload=payload(7), signal_id="s")
    first = await flow.stub.SignalRun(request)
    assert (await flow.stub.SignalRun(request)).sequence == first.sequence
    run = await flow.end(run_id)
    assert output(run) == {"go": 7}
    pause = run.steps[0]
    assert pause.end_time.ToNanoseconds() - pause.start_time.ToNanoseconds() >= 0.3e9


async def test_a_signal_that_does_not_come_fails_its_step(flow: Flows) -> None:
    await flow.register(
        "unsignalled",
        step("go", wait=Wait(signal="go"), timeout=duration_of_seconds(0.2)),
    )
    run = await flow.end(await flow.start("unsignalled"))
    assert run.steps[0].failure.code == "SIGNAL_TIMEOUT"
    assert run.failure.code == "STEP_FAILED"


# --- gates ----------------------------------------------------------------------------------------


async def test_a_gate_waits_in_the_inbox_and_its_answer_is_the_output(
    flow: Flows, mesh: Mesh
) -> None:
    gate = Gate(question="Publish ${input.count}?", choices=['"yes"', '"no"'])
    await flow.register("gated", step("ok", gate=gate), output="${steps.ok.output}")
    run_id = await flow.start("gated", {"count": 3})
    await flow.until(run_id, "ok", "WAITING")
    async with open_channel(mesh.scheduler) as channel:
        stub = InboxServiceStub(channel)
        async with asyncio.timeout(10):
            watch = stub.WatchQuestions(inbox.WatchQuestionsRequest())
            entry = (await anext(each async for each in watch if each.asked)).asked[0]
        assert entry.subject_id == run_id
        assert entry.question.text == "Publish 3?"
        answer = inbox.AnswerQuestionRequest(
            subject_id=run_id, question_id=entry.question.id, value=payload("yes")
        )
        await stub.AnswerQuestion(answer)
    run = await flow.end(run_id)
    assert output(run) == "yes"


async def test_a_gate_takes_its_default_at_its_deadline_or_fails(flow: Flows) -> None:
    soon = duration_of_seconds(0.3)
    await flow.register(
        "defaulted",
        step("ok", gate=Gate(question="?", default='"maybe"', deadline=soon)),
        step(
            "bad",
            gate=Gate(question="?", deadline=soon),
            on_failure=FAILURE_POLICY_CONTINUE,
        ),
        output={"ok": "${steps.ok.output}", "bad": "${steps.bad.failure.code}"},
    )
    run = await flow.end(await flow.start("defaulted"))
    assert output(run) == {"ok": "maybe", "bad": "INPUT_TIMEOUT"}


async def test_a_cancelled_run_takes_its_question_back(flow: Flows, mesh: Mesh) -> None:
    await flow.register("asked", step("ok", gate=Gate(question="?")))
    run_id = await flow.start("asked")
    await flow.until(run_id, "ok", "WAITING")
    await flow.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
    run = await flow.end(run_id)
    assert run.state == RUN_STATE_CANCELLED
    async with open_channel(mesh.scheduler) as channel:
        stub = InboxServiceStub(channel)
        assert not (await stub.ListQuestions(inbox.ListQuestionsRequest())).entries


# --- failures -------------------------------------------------------------------------------------


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


# --- what people tell runs ------------------------------------------------------------------------


async def test_starting_again_finds_the_run_also_when_it_has_ended(
    flow: Flows, workers: Workers
) -> None:
    await flow.register("once", step("a", "test.say", input={"text": "a"}))
    ids = await asyncio.gather(*(flow.start("once", {}, start_id="same") for _ in range(10)))
    assert len(set(ids)) == 1
    await flow.end(ids[0])
    assert await flow.start("once", {}, start_id="same") == ids[0]
    assert workers.ran == {"a": 1}
    error = await refused(flow.start("once", {"other": 1}, start_id="same"))
    assert isinstance(error, AlreadyExists), error


async def test_a_running_workflow_finishes_on_the_version_it_started_with(
    flow: Flows, workers: Workers
) -> None:
    hold = step("hold", "test.hold", input={"text": "h"})
    first = await flow.register(
        "versions", hold, step("a", "test.say", "hold", input={"text": "1"})
    )
    again = await flow.register(
        "versions", hold, step("a", "test.say", "hold", input={"text": "1"})
    )
    old = await flow.start("versions")
    await flow.until(old, "hold", "RUNNING")
    second = await flow.register(
        "versions", hold, step("a", "test.say", "hold", input={"text": "2"})
    )
    assert (first, again, second) == (1, 1, 2)
    new = await flow.start("versions")
    workers.gate.set()
    assert (await flow.end(old)).version == 1
    assert (await flow.end(new)).version == 2
    assert (workers.ran["1"], workers.ran["2"]) == (1, 1)


async def test_a_cancelled_run_cancels_its_contracts_and_is_undone(
    flow: Flows, workers: Workers
) -> None:
    undo = Compensation()
    undo.capability.name = "test.undo"
    await flow.register(
        "cancelled",
        step("a", "test.say", input={"text": "a"}, compensate=undo),
        step("hold", "test.hold", "a", input={"text": "h"}),
    )
    run_id = await flow.start("cancelled")
    await flow.until(run_id, "hold", "RUNNING")
    cancel = pb.CancelRunRequest(run_id=run_id, reason="not needed")
    await flow.stub.CancelRun(cancel)
    run = await flow.end(run_id)
    assert run.state == RUN_STATE_CANCELLED
    assert (run.failure.code, run.failure.message) == ("CANCELLED", "not needed")
    assert len(workers.undone) == 1
    assert (await flow.stub.CancelRun(cancel)).state == RUN_STATE_CANCELLED


async def test_a_paused_run_begins_nothing_new(flow: Flows, workers: Workers) -> None:
    await flow.register(
        "paused",
        step("hold", "test.hold", input={"text": "h"}),
        step("a", "test.say", "hold", input={"text": "a"}),
    )
    run_id = await flow.start("paused")
    await flow.until(run_id, "hold", "RUNNING")
    await flow.stub.PauseRun(pb.PauseRunRequest(run_id=run_id))
    workers.gate.set()
    await flow.until(run_id, "hold", "SUCCEEDED")
    run = await flow.get(run_id)
    assert run.paused
    assert states(run)["a"] == "PENDING"
    await flow.stub.ResumeRun(pb.ResumeRunRequest(run_id=run_id))
    assert (await flow.end(run_id)).state == RUN_STATE_SUCCEEDED


async def test_a_retry_does_again_what_failed_and_keeps_what_succeeded(
    flow: Flows, workers: Workers
) -> None:
    workers.failing = {"1"}
    await flow.register(
        "retried",
        step("a", "test.say", input={"text": "a"}),
        step("each", "test.say", "a", for_each="['0', '1']", input={"text": "${item}"}),
        step("last", "test.say", "each", input={"text": "${steps.each.output[1]}!"}),
        output="${steps.last.output}",
    )
    run_id = await flow.start("retried")
    run = await flow.end(run_id)
    assert run.state == RUN_STATE_FAILED
    workers.failing = set()
    reply = await flow.stub.RetryRun(pb.RetryRunRequest(run_id=run_id))
    assert reply.revision == 1
    run = await flow.end(run_id)
    assert run.state == RUN_STATE_SUCCEEDED
    assert output(run) == "1!"
    # The item beside the one that failed had succeeded, or was cancelled and is done again.
    assert (workers.ran["a"], workers.ran["1"], workers.ran["1!"]) == (1, 2, 1)
    assert workers.ran["0"] <= 2
    error = await refused(flow.stub.RetryRun(pb.RetryRunRequest(run_id=run_id)))
    assert isinstance(error, FailedPrecondition)


async def test_a_fork_keeps_what_was_before_and_does_the_rest_with_other_input(
    flow: Flows, workers: Workers
) -> None:
    await flow.register(
        "forked",
        *(
            step(
                f"s{n}",
                "test.say",
                *([f"s{n - 1}"] if n else []),
                input={"text": f"{n}${{input.mark}}"},
            )
            for n in range(5)
        ),
        output=[f"${{steps.s{n}.output}}" for n in range(5)],
    )
    first = await flow.end(await flow.start("forked", {"mark": "x"}))
    assert output(first) == ["0X", "1X", "2X", "3X", "4X"]
    fork = pb.ForkRunRequest(
        run_id=first.id, step="s3", start_id="fork", input=payload({"mark": "y"})
    )
    reply = await flow.stub.ForkRun(fork)
    second = await flow.end(reply.run_id)
    assert output(second) == ["0X", "1X", "2X", "3Y", "4Y"]
    assert (second.forked_from, second.forked_step) == (first.id, "s3")
    assert second.steps[0].items[0].contract_id == first.steps[0].items[0].contract_id
    assert workers.ran["0x"] == 1
    assert workers.ran["3y"] == 1
    assert (await flow.stub.ForkRun(fork)).duplicate


# --- looking --------------------------------------------------------------------------------------


async def test_a_watch_tells_the_whole_journal_in_order_and_goes_on_from_a_cursor(
    flow: Flows,
) -> None:
    await flow.register("watched", step("a", "test.say", input={"text": "a"}))
    run_id = await flow.start("watched")
    events = [event async for event in flow.follow(run_id)]
    kinds = [event.WhichOneof("kind") for event in events]
    assert kinds == ["started", "begun", "item_ended", "ended"]
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert not events[2].item_ended.HasField("output")
    rest = [event.sequence async for event in flow.follow(run_id, after=2)]
    assert rest == [3, 4]


async def test_runs_are_listed_newest_first_in_pages_and_by_state(
    flow: Flows, workers: Workers
) -> None:
    workers.failing = {"bad"}
    await flow.register("listed", step("a", "test.say", input={"text": "${input.text}"}))
    ids = [await flow.start("listed", {"text": text}) for text in ("good", "bad", "fine")]
    for run_id in ids:
        await flow.end(run_id)
    first = await flow.stub.ListRuns(pb.ListRunsRequest(page_size=2))
    assert [run.id for run in first.runs] == [ids[2], ids[1]]
    second = await flow.stub.ListRuns(
        pb.ListRunsRequest(page_size=2, page_token=first.next_page_token)
    )
    assert [run.id for run in second.runs] == [ids[0]]
    failed = await flow.stub.ListRuns(
        pb.ListRunsRequest(workflow="listed", states=[RUN_STATE_FAILED])
    )
    assert [run.id for run in failed.runs] == [ids[1]]
    assert RunState.Name(failed.runs[0].state) == "RUN_STATE_FAILED"


async def test_the_contracts_of_a_run_are_found_by_its_label(flow: Flows, mesh: Mesh) -> None:
    await flow.register("labelled", step("a", "test.say", input={"text": "a"}))
    run = await flow.end(await flow.start("labelled"))
    async with open_channel(mesh.scheduler) as channel:
        stub = SchedulerServiceStub(channel)
        wanted = ContractFilter(labels={"muster.run": run.id})
        found = (await stub.ListContracts(ListContractsRequest(filter=wanted))).contracts
    assert [each.id for each in found] == [run.steps[0].items[0].contract_id]
    assert run.steps[0].items[0].state == STEP_STATE_SUCCEEDED


async def test_a_dry_run_shows_what_can_be_known_and_records_nothing(
    flow: Flows, workers: Workers
) -> None:
    await flow.register(
        "planned",
        step("a", "test.say", input={"text": "${input.text}"}),
        step("b", "test.say", "a", for_each="input.items", input={"text": "${item}"}),
        step("c", "test.say", "a", when="input.c", input={"text": "c"}),
        step("d", "test.say", "b", when="size(steps.b.output) > 1", input={"text": "d"}),
    )
    request = pb.PlanRunRequest(
        workflow="planned", input=payload({"text": "t", "items": ["x", "y"], "c": False})
    )
    plan = {each.name: each for each in (await flow.stub.PlanRun(request)).steps}
    assert {name: each.stage for name, each in plan.items()} == {"a": 0, "b": 1, "c": 1, "d": 2}
    assert json.loads(plan["a"].input) == {"text": "t"}
    assert (plan["b"].items, json.loads(plan["b"].input)) == (2, {"text": "x"})
    outcomes = {name: pb.PlannedOutcome.Name(each.outcome)[16:] for name, each in plan.items()}
    assert outcomes == {"a": "RUN", "b": "RUN", "c": "SKIP", "d": "DEPENDS"}
    assert plan["a"].agents == 1
    assert not workers.ran
    assert not (await flow.stub.ListRuns(pb.ListRunsRequest())).runs


@pytest.mark.parametrize("tenant", ["default", "other"])
async def test_unknown_things_and_other_tenants_are_not_found(flow: Flows, tenant: str) -> None:
    await flow.register("mine", step("a", "test.say", input={"text": "a"}))
    run = await flow.end(await flow.start("mine"))
    run_id = run.id if tenant == "other" else "0" * 15 + "1"
    metadata = (("muster-tenant", tenant),)
    calls = [
        flow.stub.GetRun(pb.GetRunRequest(run_id=run_id), metadata=metadata),
        flow.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=metadata),
        flow.stub.RetryRun(pb.RetryRunRequest(run_id=run_id), metadata=metadata),
        flow.stub.PauseRun(pb.PauseRunRequest(run_id=run_id), metadata=metadata),
        flow.stub.SignalRun(pb.SignalRunRequest(run_id=run_id, name="x"), metadata=metadata),
        flow.stub.ForkRun(
            pb.ForkRunRequest(run_id=run_id, step="a", start_id="f"), metadata=metadata
        ),
        flow.stub.StartRun(
            pb.StartRunRequest(workflow="mine" if tenant == "other" else "no", start_id="z"),
            metadata=metadata,
        ),
    ]
    for call in calls:
        error = await refused(call)
        assert error.code is Code.NOT_FOUND, error.message
    assert isinstance(error, NotFound | MusterError)


async def test_an_input_that_does_not_fit_is_refused_before_anything_is_recorded(
    flow: Flows,
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    await flow.register(
        "typed",
        step("a", "test.say", input={"text": "a"}),
        input={"json_schema": json.dumps(schema)},
    )
    error = await refused(flow.start("typed", {"n": "x"}))
    assert isinstance(error, InvalidArgument)
    assert error.reason == "PAYLOAD_MISMATCH"
    assert not (await flow.stub.ListRuns(pb.ListRunsRequest())).runs
