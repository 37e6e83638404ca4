"""What is told of runs beside their watches: events on the bus, metrics; and what is forgotten."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.records import RowQuery
from muster.scheduler.run_entries import entries_of, run_message
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.forgetting import forget_some
from muster.scheduler.workflows.runs import Runs
from muster.v1.event_service_pb2 import WatchEventsRequest, WatchEventsResponse
from muster.v1.event_service_pb2_grpc import EventServiceStub
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL
from muster.wire.channel import open_channel
from tests.support.meshes import Mesh, all_in_one
from tests.support.workflows import Flows, Workers, flows, step


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[Mesh, Flows]]:
    workers = Workers()
    async with (
        all_in_one(folder) as mesh,
        mesh.host(workers.agent),
        flows(mesh.scheduler, ENGINE_KIND_LOCAL) as flow,
    ):
        yield mesh, flow


async def test_every_entry_of_a_run_is_an_event_on_the_bus_in_order(tmp_path: Path) -> None:
    async with started(tmp_path) as (mesh, flow), open_channel(mesh.scheduler) as channel:
        await flow.register("report.write", step("a", "test.say", input={"text": "a"}))
        request = WatchEventsRequest(pattern="workflow.>")
        watch = EventServiceStub(channel).WatchEvents(request)
        await watch.read()
        run_id = await flow.start("report.write")
        found: list[dict[str, Any]] = []
        subjects: list[str] = []
        async with asyncio.timeout(10):
            while len(found) < 4:
                frame = await watch.read()
                assert isinstance(frame, WatchEventsResponse)
                for message in frame.messages:
                    found.append(json.loads(message.event))
                    subjects.append(message.subject)
        kinds = ["started", "begun", "item-ended", "ended"]
        assert subjects == [f"muster.default.workflow.{kind}.report.write" for kind in kinds]
        assert [each["id"] for each in found] == [f"{run_id}-{n}" for n in (1, 2, 3, 4)]
        assert {each["subject"] for each in found} == {run_id}
        assert found[2]["data"]["itemEnded"]["state"] == "STEP_STATE_SUCCEEDED"
        assert "output" not in found[2]["data"]["itemEnded"]


async def test_events_read_again_from_the_ledger_are_the_same(tmp_path: Path) -> None:
    async with started(tmp_path) as (_, flow):
        await flow.register("again", step("a", "test.say", input={"text": "a"}))
        run = await flow.end(await flow.start("again"))
    ledger = SqliteLedger(tmp_path / "ledger.db", "test")
    await ledger.open()
    number = int(run.id, 16)
    found = await entries_of(ledger, [(number, 2), (number, 9), (7, 1)])
    assert list(found) == [(number, 2)]
    assert run_message(found[number, 2]).subject == "muster.default.workflow.begun.again"
    await ledger.close()


async def test_a_run_is_forgotten_with_its_journal_when_its_time_is_over(tmp_path: Path) -> None:
    async with started(tmp_path) as (_, flow):
        await flow.register("old", step("a", "test.say", input={"text": "a"}))
        await flow.register("open", step("a", "test.hold", input={"text": "a"}))
        old = await flow.end(await flow.start("old"))
        going_on = await flow.start("open")
    ledger = SqliteLedger(tmp_path / "ledger.db", "test")
    scheduler = Scheduler(ledger, "test")
    async with scheduler.run():
        assert not await forget_some(scheduler, Runs(scheduler), 3600.0)
        assert await _ids(ledger) == {old.id, going_on}
        await forget_some(scheduler, Runs(scheduler), -1.0)
        assert await _ids(ledger) == {going_on}
        assert not await ledger.rows(RowQuery("workflow_journal", {"run_id": int(old.id, 16)}))


async def _ids(ledger: SqliteLedger) -> set[str]:
    return {f"{row[0]:016x}" for row in await ledger.rows(RowQuery("workflow_runs", {}))}


async def test_runs_are_measured(tmp_path: Path) -> None:
    async with started(tmp_path) as (mesh, flow):
        await flow.register("measured", step("a", "test.say", input={"text": "a"}))
        await flow.end(await flow.start("measured"))
        url = f"http://{mesh.servers[0].http_address}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    assert "muster_runs_started_total 1.0" in text
    assert 'muster_runs_ended_total{state="succeeded"} 1.0' in text
    assert "muster_run_items_ended_total 1.0" in text
