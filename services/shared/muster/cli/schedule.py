"""`muster schedule`: what the mesh starts by itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator

from muster.cli import exits, text
from muster.cli.exits import Trouble
from muster.cli.messages import message_json
from muster.cli.place import Place
from muster.cli.schedule_calls import ScheduleCalls, schedules
from muster.cli.schedule_spec import OVERLAPS, ScheduleOptions, When, spec_of, times_of
from muster.cli.schedule_view import (
    phase,
    schedule_page,
    schedules_table,
    ticks_table,
    until,
)
from muster.cli.terminal import out, print_json, say
from muster.model import limits
from muster.model.errors import MusterError
from muster.v1.schedule_pb2 import OverlapPolicy, Schedule, Tick, TickOutcome
from muster.v1.schedule_service_pb2 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    GetScheduleRequest,
    ListSchedulesRequest,
    ListTicksRequest,
    PauseScheduleRequest,
    PreviewScheduleRequest,
    ResumeScheduleRequest,
    TriggerScheduleRequest,
    UpdateScheduleRequest,
)
from muster.wire.times import seconds_of_timestamp

_SHOWN_TICKS = 10
_OUTCOME = "TICK_OUTCOME_"


async def create(
    place: Place,
    name: str,
    options: ScheduleOptions,
    *,
    paused: bool,
    replace: bool,
    as_json: bool,
) -> int:
    """Makes a schedule, or changes the one that is there."""
    spec = spec_of(options)
    async with schedules(place) as calls:
        request = CreateScheduleRequest(name=name, spec=spec, paused=paused)
        try:
            reply = await calls.ask(calls.stub.CreateSchedule, request)
        except MusterError as error:
            if error.reason != "SCHEDULE_EXISTS":
                raise
            if not replace:
                message = f"there is a schedule {name!r} already, with another spec"
                raise Trouble(message, exits.REFUSED, "change it: … --replace") from None
            change = UpdateScheduleRequest(name=name, spec=spec)
            made, how = (await calls.ask(calls.stub.UpdateSchedule, change)).schedule, "changed"
        else:
            made, how = reply.schedule, "there already" if reply.duplicate else "made"
    if as_json:
        print_json(message_json(made))
    else:
        say(f"{name} is {how}; {_what_next(made)}")
    return exits.OK


def _what_next(schedule: Schedule) -> str:
    if not schedule.next_times:
        return f"it is {phase(schedule).lower()}"
    at, now = seconds_of_timestamp(schedule.next_times[0]), time.time()
    return f"it starts {until(at, now)}, at {text.clock(at, now)}"


async def list_schedules(place: Place, as_json: bool) -> int:
    """All of them, by name."""
    async with schedules(place) as calls:
        found = [each async for each in _all(calls)]
    if as_json:
        print_json([message_json(each) for each in found])
    elif found:
        out().print(schedules_table(found, time.time()))
    else:
        say("there are no schedules yet; make one with: muster schedule create")
    return exits.OK


async def _all(calls: ScheduleCalls) -> AsyncIterator[Schedule]:
    request = ListSchedulesRequest(page_size=limits.PAGE_SIZE_MAX)
    while True:
        reply = await calls.ask(calls.stub.ListSchedules, request)
        for each in reply.schedules:
            yield each
        request.page_token = reply.next_page_token
        if not request.page_token:
            return


async def show(place: Place, name: str, as_json: bool) -> int:
    """One of them: when it comes next, and how its last ticks ended."""
    async with schedules(place) as calls:
        reply = await calls.ask(calls.stub.GetSchedule, GetScheduleRequest(name=name))
        ticks = await _ticks(calls, ListTicksRequest(name=name), _SHOWN_TICKS)
    if as_json:
        made = message_json(reply.schedule)
        print_json({**made, "ticks": [message_json(tick) for tick in ticks]})
    else:
        out().print(schedule_page(reply.schedule, ticks, time.time()))
    return exits.OK


async def history(place: Place, name: str, outcomes: list[str], most: int, as_json: bool) -> int:
    """What became of its ticks, newest first."""
    request = ListTicksRequest(name=name, outcomes=map(_outcome, outcomes))
    async with schedules(place) as calls:
        # One more than is shown, to know whether there are more.
        ticks = await _ticks(calls, request, most + 1 if most else 0)
    shown = ticks[: most or None]
    if as_json:
        print_json([message_json(tick) for tick in shown])
    elif shown:
        out().print(ticks_table(shown, time.time()))
        if len(shown) < len(ticks):
            say("there are more; show them with: -n 100, or -n 0 for all", style="bright_black")
    else:
        say("no tick has been dealt with yet" if not outcomes else "no tick fits")
    return exits.OK


def _outcome(word: str) -> TickOutcome.ValueType:
    try:
        return TickOutcome.Value(_OUTCOME + word.upper())
    except ValueError:
        known = ", ".join(name.removeprefix(_OUTCOME).lower() for name in TickOutcome.keys()[1:])
        message = f"{word!r} is no outcome; there are {known}"
        raise Trouble(message, exits.USAGE) from None


async def _ticks(calls: ScheduleCalls, request: ListTicksRequest, most: int) -> list[Tick]:
    """At most so many; 0: all."""
    ticks: list[Tick] = []
    request.page_size = min(most or limits.PAGE_SIZE_MAX, limits.PAGE_SIZE_MAX)
    while True:
        reply = await calls.ask(calls.stub.ListTicks, request)
        ticks += reply.ticks
        request.page_token = reply.next_page_token
        if not request.page_token or (most and len(ticks) >= most):
            return ticks[: most or None]


async def pause(place: Place, name: str, note: str) -> int:
    """Has nothing more started by itself."""
    async with schedules(place) as calls:
        await calls.ask(calls.stub.PauseSchedule, PauseScheduleRequest(name=name, note=note))
    say(f"{name} is paused; what it has started goes on")
    return exits.OK


async def resume(place: Place, name: str, note: str) -> int:
    """Ends a pause."""
    async with schedules(place) as calls:
        request = ResumeScheduleRequest(name=name, note=note)
        reply = await calls.ask(calls.stub.ResumeSchedule, request)
    say(f"{name} goes on; {_what_next(reply.schedule)}")
    return exits.OK


async def trigger(place: Place, name: str, overlap: str, as_json: bool) -> int:
    """Makes a tick now."""
    request = TriggerScheduleRequest(name=name, trigger_id=secrets.token_hex(8))
    if overlap:
        if overlap not in OVERLAPS:
            message = f"--overlap is one of {', '.join(OVERLAPS)}, unlike {overlap!r}"
            raise Trouble(message, exits.USAGE)
        request.overlap = OverlapPolicy.ValueType(OVERLAPS.index(overlap) + 1)
    async with schedules(place) as calls:
        tick = (await calls.ask(calls.stub.TriggerSchedule, request)).tick
    if as_json:
        print_json(message_json(tick))
    elif tick.target_id:
        out().print(tick.target_id)
    else:
        word = TickOutcome.Name(tick.outcome).removeprefix(_OUTCOME).lower()
        say(f"the tick is {word}: {text.printable(tick.detail)}")
    return exits.OK


async def delete(place: Place, name: str) -> int:
    """Deletes it, with its history."""
    async with schedules(place) as calls:
        await calls.ask(calls.stub.DeleteSchedule, DeleteScheduleRequest(name=name))
    say(f"{name} is deleted; what it has started goes on")
    return exits.OK


async def preview(place: Place, when: When, count: int, as_json: bool) -> int:
    """The instants that a spec would have."""
    request = PreviewScheduleRequest(spec=times_of(when), count=count)
    async with schedules(place) as calls:
        reply = await calls.ask(calls.stub.PreviewSchedule, request)
    if as_json:
        print_json([each.ToJsonString() for each in reply.times])
        return exits.OK
    now = time.time()
    for each in reply.times:
        at = seconds_of_timestamp(each)
        out().print(f"{text.clock(at, now)}  {until(at, now)}")
    return exits.OK
