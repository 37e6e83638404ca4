"""Schedules that start runs, on both engines."""

from __future__ import annotations

import asyncio

from muster.v1.schedule_pb2 import RunAction, ScheduleAction, ScheduleSpec
from muster.v1.schedule_service_pb2 import CreateScheduleRequest, ListTicksRequest
from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from muster.v1.workflow_service_pb2 import ListRunsRequest, WatchRunsRequest, WatchRunsResponse
from muster.wire.channel import open_channel
from muster.wire.times import duration_of_seconds
from tests.support.meshes import Mesh
from tests.support.workflows import Flows, Workers, payload, step


async def test_each_tick_of_a_schedule_starts_one_run(
    flow: Flows, workers: Workers, mesh: Mesh
) -> None:
    await flow.register("ticked", step("a", "test.say", input={"text": "${input.text}"}))
    action = RunAction(workflow="ticked", input=payload({"text": "tick"}), engine=flow.engine)
    spec = ScheduleSpec(action=ScheduleAction(run=action), limit=3)
    spec.interval.every.CopyFrom(duration_of_seconds(1.0))
    async with open_channel(mesh.scheduler) as channel, asyncio.timeout(40):
        watch = flow.stub.WatchRuns(WatchRunsRequest())
        await watch.read()
        stub = ScheduleServiceStub(channel)
        await stub.CreateSchedule(CreateScheduleRequest(name="each", spec=spec))
        ended: set[str] = set()
        while len(ended) < 3:
            frame = await watch.read()
            assert isinstance(frame, WatchRunsResponse)
            ended |= {event.run_id for event in frame.events if event.HasField("ended")}
        ticks = (await stub.ListTicks(ListTicksRequest(name="each"))).ticks
    runs = (await flow.stub.ListRuns(ListRunsRequest(workflow="ticked"))).runs
    assert {run.id for run in runs} == ended
    assert {tick.target_id for tick in ticks} == ended
    assert workers.ran == {"tick": 3}
    assert {run.start_id.rpartition("/")[0] for run in runs} == {"schedule/each"}
