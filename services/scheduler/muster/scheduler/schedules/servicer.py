"""ScheduleService on gRPC: thin. Changes go to the owner; what is read comes from the ledger."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from muster.model.errors import InvalidArgument, Violation
from muster.model.records import RowQuery
from muster.runtime.pages import make_page_token, page_size, read_page_token
from muster.runtime.principal import Principal, current_principal
from muster.runtime.validation import invalid, violations_of
from muster.scheduler.routing import Peer, Router
from muster.scheduler.schedules.changing import Changing, schedule_unknown
from muster.scheduler.schedules.entry import home_shard
from muster.scheduler.schedules.keeping import Schedules
from muster.scheduler.schedules.messages import (
    ScheduleRow,
    progress_of,
    rules_or_none,
    schedule_of,
    tick_of,
)
from muster.scheduler.schedules.rules import check_times, instants, rules_of
from muster.v1 import schedule_service_pb2_grpc
from muster.v1.schedule_pb2 import Schedule, ScheduleSpec, ScheduleState
from muster.v1.schedule_service_pb2 import (
    CreateScheduleRequest,
    CreateScheduleResponse,
    DeleteScheduleRequest,
    DeleteScheduleResponse,
    GetScheduleRequest,
    GetScheduleResponse,
    ListSchedulesRequest,
    ListSchedulesResponse,
    ListTicksRequest,
    ListTicksResponse,
    PauseScheduleRequest,
    PauseScheduleResponse,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
    ResumeScheduleRequest,
    ResumeScheduleResponse,
    TriggerScheduleRequest,
    TriggerScheduleResponse,
    UpdateScheduleRequest,
    UpdateScheduleResponse,
)
from muster.v1.schedule_service_pb2_grpc import add_ScheduleServiceServicer_to_server
from muster.wire.times import timestamp_of_ms

_Context = grpc.aio.ServicerContext[Any, Any]
_PREVIEW_DEFAULT = 10


class ScheduleServicer(schedule_service_pb2_grpc.ScheduleServiceServicer):
    """What clients call."""

    def __init__(self, schedules: Schedules, router: Router) -> None:
        self._changing = Changing(schedules)
        self._scheduler = schedules.scheduler
        self._router = router

    def _peer(self, caller: Principal, name: str, context: _Context) -> Peer | None:
        """Who is to be asked instead of this scheduler."""
        return self._router.of_shard(home_shard(caller.tenant, name), caller, context)

    async def CreateSchedule(
        self, request: CreateScheduleRequest, context: _Context
    ) -> CreateScheduleResponse:
        """Makes one."""
        caller = current_principal()
        peer = self._peer(caller, request.name, context)
        if peer is not None:
            return await peer.ask(peer.schedules.CreateSchedule, request, context)
        duplicate = await self._changing.create(
            caller, request.name, request.spec, paused=request.paused
        )
        schedule = await self._schedule(caller, request.name)
        return CreateScheduleResponse(schedule=schedule, duplicate=duplicate)

    async def UpdateSchedule(
        self, request: UpdateScheduleRequest, context: _Context
    ) -> UpdateScheduleResponse:
        """Changes what is wanted."""
        caller = current_principal()
        peer = self._peer(caller, request.name, context)
        if peer is not None:
            return await peer.ask(peer.schedules.UpdateSchedule, request, context)
        await self._changing.update(caller, request.name, request.spec)
        return UpdateScheduleResponse(schedule=await self._schedule(caller, request.name))

    async def GetSchedule(
        self, request: GetScheduleRequest, context: _Context
    ) -> GetScheduleResponse:
        """One, as it stands in the ledger."""
        return GetScheduleResponse(schedule=await self._schedule(current_principal(), request.name))

    async def ListSchedules(
        self, request: ListSchedulesRequest, context: _Context
    ) -> ListSchedulesResponse:
        """A page."""
        tenant, size = current_principal().tenant, page_size(request.page_size)
        after = read_page_token(request.page_token, "schedules", tenant)
        query = RowQuery(
            "schedules",
            {"tenant": tenant},
            order=("name",),
            after=(after,) if after else None,
            limit=size + 1,
        )
        rows = [ScheduleRow(*row) for row in await self._scheduler.ledger.rows(query)]
        reply = ListSchedulesResponse(schedules=[schedule_of(row) for row in rows[:size]])
        if len(rows) > size:
            reply.next_page_token = make_page_token(rows[size - 1].name, "schedules", tenant)
        return reply

    async def DeleteSchedule(
        self, request: DeleteScheduleRequest, context: _Context
    ) -> DeleteScheduleResponse:
        """Deletes one."""
        caller = current_principal()
        peer = self._peer(caller, request.name, context)
        if peer is not None:
            return await peer.ask(peer.schedules.DeleteSchedule, request, context)
        await self._changing.delete(caller.tenant, request.name)
        return DeleteScheduleResponse()

    async def PauseSchedule(
        self, request: PauseScheduleRequest, context: _Context
    ) -> PauseScheduleResponse:
        """Pauses one."""
        caller = current_principal()
        peer = self._peer(caller, request.name, context)
        if peer is not None:
            return await peer.ask(peer.schedules.PauseSchedule, request, context)
        await self._changing.pause(caller.tenant, request.name, request.note)
        return PauseScheduleResponse(schedule=await self._schedule(caller, request.name))

    async def ResumeSchedule(
        self, request: ResumeScheduleRequest, context: _Context
    ) -> ResumeScheduleResponse:
        """Ends a pause."""
        caller = current_principal()
        peer = self._peer(caller, request.name, context)
        if peer is not None:
            return await peer.ask(peer.schedules.ResumeSchedule, request, context)
        await self._changing.resume(caller.tenant, request.name, request.note)
        return ResumeScheduleResponse(schedule=await self._schedule(caller, request.name))

    async def TriggerSchedule(
        self, request: TriggerScheduleRequest, context: _Context
    ) -> TriggerScheduleResponse:
        """Makes a tick."""
        caller = current_principal()
        peer = self._peer(caller, request.name, context)
        if peer is not None:
            return await peer.ask(peer.schedules.TriggerSchedule, request, context)
        row, duplicate = await self._changing.trigger(
            caller.tenant, request.name, request.trigger_id, request.overlap
        )
        return TriggerScheduleResponse(tick=tick_of(row), duplicate=duplicate)

    async def ListTicks(self, request: ListTicksRequest, context: _Context) -> ListTicksResponse:
        """A page of the history."""
        tenant, size = current_principal().tenant, page_size(request.page_size)
        await self._row(tenant, request.name)
        wanted = sorted({int(outcome) for outcome in request.outcomes if outcome})
        scope = ("ticks", tenant, request.name, repr(wanted))
        after = read_page_token(request.page_token, *scope)
        equal: dict[str, Any] = {"tenant": tenant, "name": request.name}
        if wanted:
            equal["outcome"] = wanted
        query = RowQuery(
            "schedule_ticks",
            equal,
            order=("tick_ms", "number"),
            after=tuple(map(int, after.split(":"))) if after else None,
            descending=True,
            limit=size + 1,
        )
        rows = await self._scheduler.ledger.rows(query)
        reply = ListTicksResponse(ticks=[tick_of(row) for row in rows[:size]])
        if len(rows) > size:
            _, _, tick_ms, number = rows[size - 1][:4]
            reply.next_page_token = make_page_token(f"{tick_ms}:{number}", *scope)
        return reply

    async def PreviewSchedule(
        self, request: PreviewScheduleRequest, context: _Context
    ) -> PreviewScheduleResponse:
        """The next instants."""
        now_ms, count = self._scheduler.clock().wall_ms, request.count or _PREVIEW_DEFAULT
        if request.HasField("spec"):
            rules = _rules_of_preview(request.spec, now_ms)
        else:
            row = await self._row(current_principal().tenant, request.name)
            at = progress_of(ScheduleState.FromString(row.state))
            found = rules_or_none(row, ScheduleSpec.FromString(row.spec), at)
            if found is None:
                what = "has a time zone that is not known here"
                raise InvalidArgument(f"the schedule {what}", violations=[Violation("name", what)])
            rules, now_ms = found, max(now_ms, at.through_ms)
        times = [timestamp_of_ms(each) for each in instants(rules, now_ms, count)]
        return PreviewScheduleResponse(times=times)

    async def _row(self, tenant: str, name: str) -> ScheduleRow:
        query = RowQuery("schedules", {"tenant": tenant, "name": name})
        rows = await self._scheduler.ledger.rows(query)
        if not rows:
            raise schedule_unknown(name)
        return ScheduleRow(*rows[0])

    async def _schedule(self, caller: Principal, name: str) -> Schedule:
        return schedule_of(await self._row(caller.tenant, name))


def schedule_service(schedules: Schedules, router: Router) -> Callable[[grpc.aio.Server], None]:
    """Adds the service to a server."""
    return partial(add_ScheduleServiceServicer_to_server, ScheduleServicer(schedules, router))


def _rules_of_preview(spec: ScheduleSpec, now_ms: int) -> Any:
    """The rules of a spec that may have no action."""
    wrong = [each for each in violations_of(spec) if each.field != "action"]
    if wrong:
        raise invalid([Violation(f"spec.{each.field}", each.description) for each in wrong])
    check_times(spec, now_ms)
    bare = ScheduleSpec()
    bare.CopyFrom(spec)
    bare.ClearField("jitter")
    return rules_of("", "", bare, now_ms)
