"""What every engine does with the same workflows."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest

from muster.v1 import inbox_service_pb2 as inbox
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.inbox_service_pb2_grpc import InboxServiceStub
from muster.v1.workflow_pb2 import (
    FAILURE_POLICY_CONTINUE,
    Gate,
    Wait,
    WorkflowSelector,
)
from muster.v1.workflow_run_pb2 import (
    RUN_STATE_CANCELLED,
    RUN_STATE_SUCCEEDED,
)
from muster.wire.channel import open_channel
from muster.wire.times import duration_of_seconds
from tests.support.meshes import Mesh
from tests.support.workflows import Flows, Workers, output, payload, states, step


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
    # Whoever did not hear the answer sends it again, however late; another signal is too late.
    assert (await flow.stub.SignalRun(request)).sequence == first.sequence
    request.signal_id = "t"
    with pytest.raises(grpc.RpcError, match="has ended"):
        await flow.stub.SignalRun(request)
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
