"""What people tell runs, and see of them, on every engine."""

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
from muster.scheduler.workflows.run_watching import RunWatcher
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.capability_pb2 import Schema
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.scheduler_service_pb2 import ListContractsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.v1.workflow_pb2 import (
    Compensation,
)
from muster.v1.workflow_run_pb2 import (
    RUN_STATE_CANCELLED,
    RUN_STATE_FAILED,
    RUN_STATE_SUCCEEDED,
    STEP_STATE_SUCCEEDED,
    RunEvent,
    RunState,
)
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc, error_of_status
from tests.support.meshes import Mesh
from tests.support.processes import until
from tests.support.workflows import Flows, Workers, output, payload, states, step


async def refused(call) -> MusterError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_of_rpc(caught.value)


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


async def test_many_are_started_at_once_and_each_is_taken_or_refused_by_itself(
    flow: Flows, workers: Workers
) -> None:
    await flow.register(
        "each",
        step("a", "test.say", input={"text": "${input.text}"}),
        input=Schema(json_schema=json.dumps({"type": "object", "required": ["text"]})),
        output="${steps.a.output}",
    )
    known = await flow.start("each", {"text": "known"}, start_id="known")
    starts = [
        pb.StartRunRequest(workflow="each", start_id=f"m{n}", input=payload({"text": f"m{n}"}))
        for n in range(20)
    ]
    starts += [
        pb.StartRunRequest(workflow="each", start_id="m0", input=payload({"text": "m0"})),
        pb.StartRunRequest(workflow="each", start_id="known", input=payload({"text": "known"})),
        pb.StartRunRequest(workflow="each", start_id="known", input=payload({"text": "other"})),
        pb.StartRunRequest(workflow="each", start_id="empty"),
        pb.StartRunRequest(workflow="none", start_id="none"),
        pb.StartRunRequest(workflow="each", start_id="no space"),
    ]
    for start in starts:
        start.engine = flow.engine
    results = (await flow.stub.StartRuns(pb.StartRunsRequest(starts=starts))).results
    made, again, old, *others = results[:20], *results[20:]
    assert all(result.HasField("started") for result in made)
    assert len({result.started.run_id for result in made}) == 20
    assert (again.started.run_id, again.started.duplicate) == (made[0].started.run_id, True)
    assert (old.started.run_id, old.started.duplicate) == (known, True)
    errors = [error_of_status(result.error) for result in others]
    assert [type(error) for error in errors] == [
        *(AlreadyExists, InvalidArgument, NotFound, InvalidArgument)
    ]
    assert errors[3].violations[0].field == "start_id"
    ends = [await flow.end(result.started.run_id) for result in made]
    assert [output(run) for run in ends] == [f"M{n}" for n in range(20)]
    assert all(workers.ran[f"m{n}"] == 1 for n in range(20))
    error = await refused(flow.stub.StartRuns(pb.StartRunsRequest()))
    assert isinstance(error, InvalidArgument), error
    strangers = pb.StartRunsRequest(starts=[starts[1]])
    metadata = (("muster-tenant", "stranger"),)
    (theirs,) = (await flow.stub.StartRuns(strangers, metadata=metadata)).results
    assert isinstance(error_of_status(theirs.error), NotFound)


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
    again = pb.RetryRunRequest(run_id=run_id, after_revision=0)
    assert (await flow.stub.RetryRun(again)).revision == 1
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


async def test_a_watch_tells_the_end_after_all_entries_however_late_they_are(
    flow: Flows, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await flow.register("late", step("a", "test.hold", input={"text": "a"}))
    run_id = await flow.start("late")
    take, is_first = RunWatcher.take, True

    async def is_over() -> bool:
        return (await flow.get(run_id)).state == RUN_STATE_SUCCEEDED

    async def take_late(watcher: RunWatcher) -> list[RunEvent]:
        """What was in the journal already comes alone, and the rest when the run is over."""
        nonlocal is_first
        if not is_first:
            return await take(watcher)
        is_first = False
        workers.gate.set()
        await until(is_over, 10, "the run is over")
        return [RunEvent(run_id=run_id, sequence=1)]

    monkeypatch.setattr(RunWatcher, "take", take_late)
    kinds = [event.WhichOneof("kind") async for event in flow.follow(run_id)]
    assert not is_first
    assert kinds == ["started", "begun", "item_ended", "ended"]


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
