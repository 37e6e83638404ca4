"""Schedules that start runs of workflows."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from muster.v1.schedule_pb2 import OverlapPolicy, TickOutcome
from muster.v1.schedule_service_pb2 import CreateScheduleRequest, TriggerScheduleRequest
from muster.v1.workflow_run_pb2 import (
    RUN_STATE_CANCELLED,
    RUN_STATE_SUCCEEDED,
    EngineKind,
)
from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from muster.wire.channel import open_channel
from tests.integration.test_schedules import HOUR_MS, SECONDS, refused
from tests.support.meshes import Mesh
from tests.support.processes import until
from tests.support.scheduled import STARTED, create, each_run, get, history, pause, scheduling
from tests.support.workflows import Flows, Workers, step

WAITING = TickOutcome.TICK_OUTCOME_WAITING


@pytest.fixture
async def flow(mesh: Mesh) -> AsyncIterator[Flows]:
    async with open_channel(mesh.scheduler) as channel:
        yield Flows(WorkflowServiceStub(channel), EngineKind.ENGINE_KIND_LOCAL)


async def test_each_tick_is_a_run_of_the_newest_version(mesh: Mesh, flow: Flows) -> None:
    workers = Workers()
    async with mesh.host(workers.agent), scheduling(mesh.scheduler) as stub:
        await flow.register("say", step("a", "test.say", input={"text": "one"}))
        spec = each_run(150, "say")
        spec.overlap = OverlapPolicy.OVERLAP_POLICY_ALLOW
        await create(stub, "flow", spec)
        await until(lambda: workers.ran["one"] >= 3, SECONDS, "three runs")
        await flow.register("say", step("a", "test.say", input={"text": "two"}))
        await until(lambda: workers.ran["two"] >= 2, SECONDS, "runs of the newer version")
        await pause(stub, "flow")
        ticks = await history(stub, "flow")
        assert all(tick.is_run and tick.outcome == STARTED for tick in ticks)

        async def all_done() -> bool:
            runs = [await flow.get(tick.target_id) for tick in ticks]
            return all(run.state == RUN_STATE_SUCCEEDED for run in runs)

        await until(all_done, SECONDS, "each run has succeeded")
        assert workers.ran.total() == len(ticks) == len({tick.target_id for tick in ticks})


async def test_a_run_that_goes_on_holds_the_next_one_up_or_is_cancelled(
    mesh: Mesh, flow: Flows
) -> None:
    workers = Workers()
    async with mesh.host(workers.agent), scheduling(mesh.scheduler) as stub:
        await flow.register("hold", step("a", "test.hold", input={"text": "held"}))
        await create(stub, "flow", each_run(HOUR_MS, "hold"))

        async def trigger(overlap: OverlapPolicy.ValueType) -> tuple[int, str]:
            request = TriggerScheduleRequest(
                name="flow", trigger_id=secrets.token_hex(4), overlap=overlap
            )
            tick = (await stub.TriggerSchedule(request)).tick
            return tick.outcome, tick.target_id

        outcome, first = await trigger(OverlapPolicy.OVERLAP_POLICY_QUEUE)
        assert outcome == STARTED
        assert (await trigger(OverlapPolicy.OVERLAP_POLICY_QUEUE))[0] == WAITING
        assert (await trigger(OverlapPolicy.OVERLAP_POLICY_CANCEL))[0] == WAITING
        ended = await flow.end(first)
        assert ended.state == RUN_STATE_CANCELLED

        async def newest_runs() -> bool:
            running = (await get(stub, "flow")).state.running
            return [each.tick.number for each in running] == [3]

        await until(newest_runs, SECONDS, "the newest tick is started, and it alone")
        workers.gate.set()

        async def nothing_runs() -> bool:
            return not (await get(stub, "flow")).state.running

        await until(nothing_runs, SECONDS, "its end is heard of")


async def test_what_cannot_be_run_is_refused(mesh: Mesh, flow: Flows) -> None:
    async with scheduling(mesh.scheduler) as stub:
        request = CreateScheduleRequest(name="flow", spec=each_run(HOUR_MS, "no-such"))
        error = await refused(stub.CreateSchedule(request))
        assert error.reason == "WORKFLOW_UNKNOWN"
