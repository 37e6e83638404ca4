"""Schedules of a running mesh, through gRPC: what can be done with them, and what they start."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from muster.agent import Agent, connect
from muster.model import limits
from muster.model.errors import MusterError
from muster.runtime.principal import TENANT_KEY
from muster.v1.schedule_pb2 import OverlapPolicy, SchedulePhase, ScheduleSpec, Tick, TickOutcome
from muster.v1.schedule_service_pb2 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    GetScheduleRequest,
    ListSchedulesRequest,
    ListTicksRequest,
    PreviewScheduleRequest,
    ResumeScheduleRequest,
    TriggerScheduleRequest,
    UpdateScheduleRequest,
)
from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from muster.wire.errors import error_of_rpc
from muster.wire.times import ms_of_timestamp
from tests.support.meshes import Mesh, all_in_one
from tests.support.processes import until
from tests.support.scheduled import (
    STARTED,
    Ticker,
    create,
    each,
    gaps,
    get,
    history,
    pause,
    scheduling,
)

SECONDS = 10.0
HOUR_MS = 3_600_000  # of an interval that does not come while a test runs
SKIPPED, WAITING = TickOutcome.TICK_OUTCOME_SKIPPED, TickOutcome.TICK_OUTCOME_WAITING
FINISHED, PAUSED = SchedulePhase.SCHEDULE_PHASE_FINISHED, SchedulePhase.SCHEDULE_PHASE_PAUSED


class Gate:
    """An agent whose work ends when the test says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.agent = Agent("gate", kind="test", max_in_flight=10)

        @self.agent.capability("gate.pass")
        async def go() -> None:
            await self.open.wait()


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Mesh]:
    """A mesh in one process."""
    async with all_in_one(tmp_path) as mesh:
        yield mesh


async def trigger(
    stub: ScheduleServiceStub, name: str, overlap: OverlapPolicy.ValueType | None = None
) -> Tick:
    request = TriggerScheduleRequest(name=name, trigger_id=secrets.token_hex(4))
    if overlap is not None:
        request.overlap = overlap
    return (await stub.TriggerSchedule(request)).tick


async def refused(call: object) -> MusterError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return error_of_rpc(caught.value)


async def test_a_schedule_starts_contracts_until_it_is_paused_and_is_forgotten(mesh: Mesh) -> None:
    ticker = Ticker()
    async with mesh.host(ticker.agent), scheduling(mesh.scheduler) as stub:
        spec = each(100)
        spec.overlap = OverlapPolicy.OVERLAP_POLICY_ALLOW
        made = await create(stub, "beat", spec)
        assert made.next_times[0].ToMilliseconds() == ms_of_timestamp(made.create_time) + 100
        again = await stub.CreateSchedule(CreateScheduleRequest(name="beat", spec=spec))
        assert again.duplicate
        await until(lambda: len(ticker.executed) >= 5, SECONDS, "five ticks")
        paused = await pause(stub, "beat", "enough")
        assert (paused.phase, paused.state.note, len(paused.next_times)) == (PAUSED, "enough", 0)
        ticks = await history(stub, "beat", page_size=2)
        assert {tick.outcome for tick in ticks} == {STARTED}
        assert gaps(paused, ticks) == []
        targets = {tick.target_id for tick in ticks}
        await until(lambda: targets == ticker.executed.keys(), SECONDS, "each is executed")
        assert set(ticker.executed.values()) == {1}
        async with connect(mesh.scheduler) as client:
            contract = await client.get(ticks[0].target_id)
            instant = ms_of_timestamp(ticks[0].time)
            assert contract.request.request_id == f"schedule/beat/{instant}"
            assert contract.request.labels["muster.schedule"] == "beat"
            shown = datetime.fromisoformat(contract.request.labels["muster.tick"])
            assert round(shown.timestamp() * 1000) == instant
        resumed = await stub.ResumeSchedule(ResumeScheduleRequest(name="beat"))
        assert resumed.schedule.phase != PAUSED
        await stub.DeleteSchedule(DeleteScheduleRequest(name="beat"))
        gone = await refused(stub.GetSchedule(GetScheduleRequest(name="beat")))
        assert gone.reason == "SCHEDULE_UNKNOWN"
        assert (await refused(stub.ListTicks(ListTicksRequest(name="beat")))).code == gone.code
        anew = await create(stub, "beat", each(HOUR_MS))
        assert anew.state.counts.started == 0
        assert await history(stub, "beat") == []


async def test_many_schedules_are_listed_by_name_in_pages(mesh: Mesh) -> None:
    ticker = Ticker()
    async with mesh.host(ticker.agent), scheduling(mesh.scheduler) as stub:
        names = [f"s{number:02}" for number in range(25)]
        for name in reversed(names):
            await create(stub, name, each(HOUR_MS))
        found: list[str] = []
        request = ListSchedulesRequest(page_size=10)
        while not found or request.page_token:
            reply = await stub.ListSchedules(request)
            found += [schedule.name for schedule in reply.schedules]
            request.page_token = reply.next_page_token
        assert found == names
        # They live in many shards, so with several schedulers all of those are asked.
        for name in names[:12]:
            assert (await trigger(stub, name)).outcome == STARTED
        other = ((TENANT_KEY, "other"),)
        assert not (await stub.ListSchedules(ListSchedulesRequest(), metadata=other)).schedules
        call = stub.GetSchedule(GetScheduleRequest(name="s00"), metadata=other)
        assert (await refused(call)).reason == "SCHEDULE_UNKNOWN"


async def test_a_trigger_that_comes_again_makes_one_tick(one: Mesh) -> None:
    ticker = Ticker()
    async with one.host(ticker.agent), scheduling(one.scheduler) as stub:
        await create(stub, "now", each(HOUR_MS))
        request = TriggerScheduleRequest(name="now", trigger_id="a")
        first, second = await stub.TriggerSchedule(request), await stub.TriggerSchedule(request)
        assert (first.duplicate, second.duplicate) == (False, True)
        assert first.tick == second.tick
        assert len(await history(stub, "now")) == 1


async def test_ticks_wait_in_a_queue_and_start_when_the_one_before_has_ended(one: Mesh) -> None:
    gate = Gate()
    async with one.host(gate.agent), scheduling(one.scheduler) as stub:
        spec = each(HOUR_MS, "gate.pass")
        spec.overlap, spec.queue_max = OverlapPolicy.OVERLAP_POLICY_QUEUE, 1
        await create(stub, "queue", spec)
        outcomes = [(await trigger(stub, "queue")).outcome for _ in range(3)]
        assert outcomes == [STARTED, WAITING, SKIPPED]
        gate.open.set()

        async def all_ended() -> bool:
            state = (await get(stub, "queue")).state
            return not state.waiting and not state.running

        await until(all_ended, SECONDS, "the queue is worked off")
        ticks = await history(stub, "queue")
        assert sorted(tick.outcome for tick in ticks) == [STARTED, STARTED, SKIPPED]


async def test_a_newer_tick_cancels_the_contract_that_runs(one: Mesh) -> None:
    gate = Gate()
    async with (
        one.host(gate.agent),
        scheduling(one.scheduler) as stub,
        connect(one.scheduler) as client,
    ):
        spec = each(HOUR_MS, "gate.pass")
        spec.overlap = OverlapPolicy.OVERLAP_POLICY_CANCEL
        await create(stub, "newest", spec)
        first = await trigger(stub, "newest")
        second = await trigger(stub, "newest")
        response = await client.wait(first.target_id, 5)
        assert response is not None
        assert response.failure.code == "CANCELLED"
        request = ListTicksRequest(name="newest", outcomes=[STARTED])

        async def started() -> bool:
            ticks = (await stub.ListTicks(request)).ticks
            return [tick.number for tick in ticks] == [second.number, first.number]

        await until(started, SECONDS, "the newer one has started")


async def test_once_is_once_and_a_limit_is_a_limit(one: Mesh) -> None:
    ticker = Ticker()
    async with one.host(ticker.agent), scheduling(one.scheduler) as stub:
        spec = each(100)
        spec.at.FromDatetime(datetime.now(UTC) + timedelta(seconds=0.3))
        spec.at.nanos -= spec.at.nanos % 1_000_000
        await create(stub, "once", spec)
        limited = each(100)
        limited.limit = 3
        await create(stub, "thrice", limited)

        async def finished() -> bool:
            return all([(await get(stub, n)).phase == FINISHED for n in ("once", "thrice")])

        await until(finished, SECONDS, "both are finished")
        await until(lambda: len(ticker.executed) == 4, SECONDS, "once and thrice")
        assert (await trigger(stub, "once")).outcome == STARTED


async def test_another_spec_keeps_the_history_and_counts_from_now(one: Mesh) -> None:
    ticker = Ticker()
    async with one.host(ticker.agent), scheduling(one.scheduler) as stub:
        await create(stub, "beat", each(100))
        await until(lambda: len(ticker.executed) >= 2, SECONDS, "two ticks")
        changed = each(HOUR_MS)
        reply = await stub.UpdateSchedule(UpdateScheduleRequest(name="beat", spec=changed))
        before = reply.schedule.state.counts.started
        assert before >= 2
        assert reply.schedule.next_times[0].ToMilliseconds() > ms_of_timestamp(
            reply.schedule.update_time
        )
        assert len(await history(stub, "beat")) >= 2
        call = stub.UpdateSchedule(UpdateScheduleRequest(name="other", spec=changed))
        assert (await refused(call)).reason == "SCHEDULE_UNKNOWN"


async def test_a_history_is_kept_to_a_bound(one: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCHEDULE_TICKS_KEPT", 10)
    monkeypatch.setattr(limits, "SCHEDULE_TICKS_TRIM", 5)
    ticker = Ticker()
    async with one.host(ticker.agent), scheduling(one.scheduler) as stub:
        await create(stub, "long", each(HOUR_MS))
        newest = [
            await trigger(stub, "long", OverlapPolicy.OVERLAP_POLICY_ALLOW) for _ in range(31)
        ]

        async def trimmed() -> bool:
            return len(await history(stub, "long")) <= 15

        await until(trimmed, SECONDS, "the oldest entries are gone")
        kept = [tick.number for tick in await history(stub, "long")]
        assert kept == [tick.number for tick in reversed(newest)][: len(kept)]
        assert len(kept) >= 10


async def test_what_cannot_be_scheduled_is_refused_by_name(one: Mesh) -> None:
    ticker = Ticker()
    async with one.host(ticker.agent), scheduling(one.scheduler) as stub:

        async def said(spec: ScheduleSpec, name: str = "bad") -> tuple[str, str]:
            request = CreateScheduleRequest(name=name, spec=spec)
            error = await refused(stub.CreateSchedule(request))
            return error.reason, error.violations[0].field if error.violations else ""

        spec = each(HOUR_MS)
        spec.cron.expression = "99 * * * *"
        assert await said(spec) == ("INVALID_FIELD", "spec.cron.expression")
        spec.cron.expression, spec.cron.time_zone = "* * * * *", "Mars/Olympus"
        assert await said(spec) == ("INVALID_FIELD", "spec.cron.time_zone")
        assert await said(each(50)) == ("INVALID_FIELD", "spec.interval.every")
        assert await said(each(HOUR_MS), "a/b") == ("INVALID_FIELD", "name")
        spec = each(HOUR_MS)
        spec.at.FromSeconds(1_000)
        assert await said(spec) == ("INVALID_FIELD", "spec.at")
        spec = each(HOUR_MS)
        spec.end_time.FromSeconds(1_000)
        assert await said(spec) == ("INVALID_FIELD", "spec.end_time")
        spec = each(HOUR_MS)
        spec.action.contract.request.request_id = "mine"
        place = "spec.action.contract.request"
        assert await said(spec) == ("INVALID_FIELD", f"{place}.request_id")
        spec.action.contract.request.ClearField("request_id")
        spec.action.contract.request.priority = 99  # type: ignore[assignment]
        assert await said(spec) == ("INVALID_FIELD", f"{place}.priority")
        spec = each(HOUR_MS, text='"' + "x" * limits.SCHEDULE_SPEC_BYTES_MAX + '"')
        assert await said(spec) == ("INVALID_FIELD", "spec")
        assert (await said(each(HOUR_MS, "no.such")))[0] == "CAPABILITY_UNKNOWN"
        assert (await said(each(HOUR_MS, text='{"n": 1}')))[0] == "PAYLOAD_MISMATCH"
        await create(stub, "there", each(HOUR_MS))
        assert (await said(each(HOUR_MS + 1), "there"))[0] == "SCHEDULE_EXISTS"


async def test_a_preview_records_nothing(one: Mesh) -> None:
    async with scheduling(one.scheduler) as stub:
        spec = ScheduleSpec()
        spec.cron.expression, spec.cron.time_zone = "30 2 29 3 *", "Europe/Berlin"
        spec.end_time.FromDatetime(datetime(2040, 1, 1, tzinfo=UTC))
        spec.start_time.FromDatetime(datetime(2037, 1, 1, tzinfo=UTC))
        reply = await stub.PreviewSchedule(PreviewScheduleRequest(spec=spec, count=5))
        # In 2037 that is the night in which clocks are set forward.
        shown = [each.ToDatetime().isoformat() for each in reply.times]
        assert shown == ["2037-03-29T01:00:00", "2038-03-29T00:30:00", "2039-03-29T00:30:00"]
        assert not (await stub.ListSchedules(ListSchedulesRequest())).schedules
