"""Runs where several schedulers share a ledger: any of them answers for any run, and they move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from muster.model.errors import Code
from muster.model.ids import parse_id, shard_of_id
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.workflow_pb2 import Gate, WorkflowSelector
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, RUN_STATE_SUCCEEDED
from muster.wire.errors import error_of_status
from tests.support.replicas import Replicas, replicas
from tests.support.workflows import Flows, Workers, flows, output, payload, step


@pytest.fixture
async def both(tmp_path: Path, postgres_url: str) -> AsyncIterator[Replicas]:
    """Two of each service."""
    async with replicas(tmp_path, postgres_url) as made:
        await made.shared_by(2)
        yield made


async def registered(flow: Flows) -> None:
    await flow.register(
        "inner",
        step("say", "test.say", input={"text": "${input.text}"}),
        output="${steps.say.output}",
    )
    await flow.register(
        "outer",
        step("each", for_each="input.texts", workflow=WorkflowSelector(name="inner"),
             input={"text": "${item}"}),
        step("hold", "test.hold", "each", input={"text": "${input.texts[0]}"}),
        output="${steps.each.output}",
    )  # fmt: skip


async def test_any_scheduler_answers_for_any_run(both: Replicas) -> None:
    workers = Workers()
    first, second = both.mesh(0), both.mesh(1)
    async with (
        first.host(workers.agent),
        flows(first.scheduler, ENGINE_KIND_LOCAL) as one,
        flows(second.scheduler, ENGINE_KIND_LOCAL) as other,
    ):
        await registered(one)
        assert await other.register("inner", step("say", "test.say", input={"text": "x"})) == 2
        workers.gate.set()
        ids = [await one.start("outer", {"texts": [f"{n}"]}, start_id=f"s{n}") for n in range(12)]
        assert len({shard_of_id(parse_id(run_id)) % 2 for run_id in ids}) == 2
        ends = await asyncio.gather(*(other.end(run_id) for run_id in ids))
        assert {run.state for run in ends} == {RUN_STATE_SUCCEEDED}
        again = [
            await other.start("outer", {"texts": [f"{n}"]}, start_id=f"s{n}") for n in range(12)
        ]
        assert again == ids
        listed = await other.stub.ListRuns(pb.ListRunsRequest(workflow="outer"))
        assert {run.id for run in listed.runs} == set(ids)
        forked = await other.stub.ForkRun(
            pb.ForkRunRequest(run_id=ids[0], step="hold", start_id="fork", input=payload(
                {"texts": ["other"]}))
        )  # fmt: skip
        assert (await one.end(forked.run_id)).state == RUN_STATE_SUCCEEDED


async def test_many_at_once_are_started_by_whoever_has_their_shards(both: Replicas) -> None:
    workers = Workers()
    mesh = both.mesh(0)
    async with mesh.host(workers.agent), flows(mesh.scheduler, ENGINE_KIND_LOCAL) as flow:
        await flow.register("each", step("say", "test.say", input={"text": "${input.text}"}))
        starts = [  # so many that both have some
            pb.StartRunRequest(workflow="each", start_id=f"m{n}", input=payload({"text": f"{n}"}))
            for n in range(24)
        ]
        starts.append(pb.StartRunRequest(workflow="none", start_id="m"))
        *made, none = (await flow.stub.StartRuns(pb.StartRunsRequest(starts=starts))).results
        assert error_of_status(none.error).code is Code.NOT_FOUND
        for number, result in enumerate(made):
            run = await flow.end(result.started.run_id)
            assert (run.start_id, run.state) == (f"m{number}", RUN_STATE_SUCCEEDED)
        assert [workers.ran[f"{n}"] for n in range(24)] == [1] * 24


async def test_a_watch_of_all_runs_sees_those_of_every_scheduler(both: Replicas) -> None:
    workers = Workers()
    mesh = both.mesh(0)
    async with mesh.host(workers.agent), flows(mesh.scheduler, ENGINE_KIND_LOCAL) as flow:
        await flow.register("seen", step("say", "test.say", input={"text": "a"}))
        watch = flow.stub.WatchRuns(pb.WatchRunsRequest())
        for _ in both.schedulers:
            await watch.read()
        ids = {await flow.start("seen", start_id=f"w{n}") for n in range(12)}
        ended: set[str] = set()
        async with asyncio.timeout(15):
            while ended != ids:
                frame = await watch.read()
                assert isinstance(frame, pb.WatchRunsResponse)
                ended |= {event.run_id for event in frame.events if event.HasField("ended")}


async def test_runs_go_on_with_whoever_takes_their_shards_over(
    both: Replicas, tmp_path: Path
) -> None:
    workers = Workers()
    mesh = both.mesh(0)
    async with (
        mesh.host(workers.agent),
        flows(mesh.scheduler, ENGINE_KIND_LOCAL) as flow,
    ):
        await registered(flow)
        await flow.register("asks", step("ok", gate=Gate(question="?", default='"yes"')))
        ids = [await flow.start("outer", {"texts": [f"{n}", "b"]}) for n in range(12)]
        asking = [await flow.start("asks") for _ in range(4)]
        for run_id in ids:
            await flow.until(run_id, "hold", "RUNNING")
        async with AsyncExitStack() as stack:
            third = await both.add_scheduler(stack, tmp_path)
            await both.shared_by(3)
            workers.gate.set()
            async with flows(third.address, ENGINE_KIND_LOCAL) as other:
                ends = await asyncio.gather(*(other.end(run_id) for run_id in ids))
                assert {run.state for run in ends} == {RUN_STATE_SUCCEEDED}
                assert output(ends[0]) == ["0", "B"]
                assert all(workers.ran[f"{n}"] == 2 for n in range(12))  # said, and held
                for run_id in asking:
                    await other.until(run_id, "ok", "WAITING")
