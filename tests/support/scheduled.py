"""Schedules in tests: a client for them, and an agent that notes each tick it is asked about."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from muster.agent import Agent, Context
from muster.v1.schedule_pb2 import Schedule, ScheduleSpec, Tick, TickOutcome
from muster.v1.schedule_service_pb2 import (
    CreateScheduleRequest,
    GetScheduleRequest,
    ListTicksRequest,
    PauseScheduleRequest,
)
from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from muster.wire.channel import open_channel
from muster.wire.times import duration_of_ms, ms_of_timestamp

STARTED = TickOutcome.TICK_OUTCOME_STARTED


def each(every_ms: int, capability: str = "clock.tick", text: str = "{}") -> ScheduleSpec:
    """A spec that starts a contract at this distance."""
    spec = ScheduleSpec()
    spec.interval.every.CopyFrom(duration_of_ms(every_ms))
    spec.action.contract.request.capability.name = capability
    spec.action.contract.request.payload.json = text
    return spec


def each_hour(capability: str, text: str = "{}") -> ScheduleSpec:
    """The same, and not while a test runs."""
    return each(3_600_000, capability, text)


def each_run(every_ms: int, workflow: str, text: str = "{}") -> ScheduleSpec:
    """The same, for runs of a workflow."""
    spec = ScheduleSpec()
    spec.interval.every.CopyFrom(duration_of_ms(every_ms))
    spec.action.run.workflow, spec.action.run.input.json = workflow, text
    return spec


class Ticker:
    """An agent that counts what it is asked for, by contract."""

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()
        self.agent = Agent("ticker", kind="test", max_in_flight=100)

        @self.agent.capability("clock.tick")
        async def tick(ctx: Context) -> None:
            self.executed[ctx.contract_id] += 1


@asynccontextmanager
async def scheduling(address: str) -> AsyncIterator[ScheduleServiceStub]:
    """Calls a mesh's schedules, with the shipped retries."""
    async with open_channel(address) as channel:
        yield ScheduleServiceStub(channel)


async def create(stub: ScheduleServiceStub, name: str, spec: ScheduleSpec) -> Schedule:
    """A new schedule."""
    reply = await stub.CreateSchedule(CreateScheduleRequest(name=name, spec=spec))
    return reply.schedule


async def get(stub: ScheduleServiceStub, name: str) -> Schedule:
    """A schedule as it is now."""
    return (await stub.GetSchedule(GetScheduleRequest(name=name))).schedule


async def pause(stub: ScheduleServiceStub, name: str, note: str = "") -> Schedule:
    """No more ticks."""
    reply = await stub.PauseSchedule(PauseScheduleRequest(name=name, note=note))
    return reply.schedule


async def history(stub: ScheduleServiceStub, name: str, page_size: int = 1000) -> list[Tick]:
    """All of it, newest first."""
    ticks: list[Tick] = []
    request = ListTicksRequest(name=name, page_size=page_size)
    while True:
        reply = await stub.ListTicks(request)
        ticks += reply.ticks
        request.page_token = reply.next_page_token
        if not request.page_token:
            return ticks


def gaps(schedule: Schedule, ticks: list[Tick]) -> list[str]:
    """What is wrong with the history of an interval: instants that are left out, or come twice."""
    every_ms = schedule.spec.interval.every.ToMilliseconds()
    at_ms = ms_of_timestamp(schedule.create_time)
    wrong = []
    for tick in sorted((t for t in ticks if not t.number), key=lambda t: ms_of_timestamp(t.time)):
        first_ms = ms_of_timestamp(tick.time)
        if first_ms != at_ms + every_ms:
            wrong.append(f"{first_ms} follows {at_ms}")
        at_ms = first_ms + (tick.count - 1) * every_ms
    if ms_of_timestamp(schedule.state.through_time) != at_ms:
        wrong.append(f"{at_ms} is the last, and {schedule.state.through_time.ToJsonString()} said")
    return wrong
