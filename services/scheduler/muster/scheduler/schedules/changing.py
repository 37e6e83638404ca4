"""What people do with schedules, at the scheduler that owns them; durable on return."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from muster.model import limits
from muster.model.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Violation,
)
from muster.model.records import Action, RowQuery
from muster.runtime.principal import Principal
from muster.scheduler import core_schedules as core
from muster.scheduler.core_schedules import Start, TickKey
from muster.scheduler.records import Now
from muster.scheduler.schedules.entry import Entry, home_shard
from muster.scheduler.schedules.keeping import Schedules
from muster.scheduler.schedules.messages import CONTRACT, RUN
from muster.scheduler.schedules.rules import check_request, check_times, other_times, rules_of
from muster.scheduler.schedules.ticking import kind_of
from muster.v1.schedule_pb2 import ScheduleSpec

_ROWS_AT_ONCE = 1_000


class Changing:
    """Changes schedules that are owned here; raises `Unavailable` for others."""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules
        self._scheduler = schedules.scheduler

    async def create(
        self, caller: Principal, name: str, spec: ScheduleSpec, *, paused: bool
    ) -> bool:
        """Returns whether it was there already, with the same spec."""
        schedules, shard = self._schedules, home_shard(caller.tenant, name)
        await schedules.ready(shard)
        if self._found_same(caller.tenant, name, spec):
            return await self._durable(True)
        await self._check_action(caller, spec)
        now = self._scheduler.clock()
        check_times(spec, now.wall_ms)
        await schedules.ready(shard)
        if self._found_same(caller.tenant, name, spec):  # somebody made it while we looked
            return await self._durable(True)
        if len(schedules.entries) >= limits.SCHEDULES_MAX:
            raise ResourceExhausted(
                f"there are {limits.SCHEDULES_MAX} schedules; delete some that are finished"
            )
        self._scheduler.committer.require_room()
        entry = Entry(
            caller.tenant,
            name,
            shard,
            caller.name,
            now.wall_ms,
            spec,
            rules_of(caller.tenant, name, spec, now.wall_ms),
            core.Progress(now.wall_ms, now.wall_ms, paused=paused),
        )
        schedules.entries[entry.key] = entry
        return await self._changed(entry, now, False)

    async def update(self, caller: Principal, name: str, spec: ScheduleSpec) -> None:
        """Another spec, from now on."""
        entry = await self._get(caller.tenant, name)
        await self._check_action(caller, spec)
        entry = await self._get(caller.tenant, name)
        now = self._scheduler.clock()
        others = other_times(entry.spec, spec)
        if others or spec.end_time != entry.spec.end_time or entry.rules is None:
            check_times(spec, now.wall_ms)
        self._deal_with_due(entry, now)
        rules = rules_of(entry.tenant, name, spec, entry.progress.created_ms)
        entry.respecify(spec, rules)
        entry.principal = caller.name
        entry.progress = core.changed(entry.progress, now.wall_ms, other_times=others)
        entry.changed_ms = now.wall_ms
        await self._changed(entry, now, False)

    async def pause(self, tenant: str, name: str, note: str) -> None:
        """Start nothing more by itself."""
        entry, now = await self._get(tenant, name), self._scheduler.clock()
        self._deal_with_due(entry, now)
        entry.progress = core.pause(entry.progress, note)
        entry.changed_ms = now.wall_ms
        await self._changed(entry, now, False)

    async def resume(self, tenant: str, name: str, note: str) -> None:
        """Go on with what comes from now on."""
        entry, now = await self._get(tenant, name), self._scheduler.clock()
        self._scheduler.committer.require_room()
        if entry.progress.paused:
            entry.progress = core.resume(entry.progress, now.wall_ms, note)
            entry.changed_ms = now.wall_ms
        await self._changed(entry, now, False)

    async def trigger(
        self, tenant: str, name: str, trigger_id: str, overlap: int
    ) -> tuple[tuple[Any, ...], bool]:
        """The row of the tick, and whether an earlier call had made it."""
        entry = await self._get(tenant, name)
        starts = self._schedules.ticking.starts[kind_of(entry)]
        await starts.get_ready(tenant, entry.spec.action)
        entry, now = await self._get(tenant, name), self._scheduler.clock()
        known = [x.tick for x in entry.progress.triggered if x.trigger_id == trigger_id]
        tick = known[0] if known else self._trigger(entry, now, trigger_id, overlap)
        await self._changed(entry, now, False)
        return await self._row(entry, tick), bool(known)

    def _trigger(self, entry: Entry, now: Now, trigger_id: str, overlap: int) -> TickKey:
        if entry.rules is None:
            raise Unavailable("its time zone is not known on this machine; change the schedule")
        if len(entry.progress.running) >= limits.SCHEDULE_RUNNING_MAX:
            raise ResourceExhausted(
                f"{limits.SCHEDULE_RUNNING_MAX} things that this schedule has started go on; "
                "trigger it when some have ended"
            )
        self._scheduler.committer.require_room()
        ticking, before = self._schedules.ticking, entry.progress
        step = core.trigger(entry.rules, before, now.wall_ms, trigger_id, overlap)
        tick, named = core.name_trigger(before, now.wall_ms, trigger_id)
        if isinstance(step, Start):
            entry.progress = named
            try:
                step = ticking.start(entry, step, now)
            except BaseException:
                entry.progress = before
                raise
        ticking.note(entry, step, now)
        return tick

    async def _row(self, entry: Entry, tick: TickKey) -> tuple[Any, ...]:
        key = {"tenant": entry.tenant, "name": entry.name}
        key |= {"tick_ms": tick.at_ms, "number": tick.number}  # type: ignore[dict-item]
        rows = await self._scheduler.ledger.rows(RowQuery("schedule_ticks", key))
        if not rows:
            raise NotFound(
                "the tick has been forgotten since; see what came after: muster schedule history",
                reason="SCHEDULE_UNKNOWN",
            )
        return rows[0]

    async def delete(self, tenant: str, name: str) -> None:
        """It, and its history."""
        entry = await self._get(tenant, name)
        async with self._at_rest(entry):
            rows = [key async for key in self._tick_keys(entry)]
            # Nobody waits from here on: all of it is in one batch.
            if self._schedules.find(entry.key) is not entry:
                raise Unavailable("the schedule is moving to another scheduler; try again")
            self._scheduler.committer.require_room()
            batch = self._scheduler.committer.batch
            for row in rows:
                batch.record(Action.DELETE, "schedule_ticks", row, entry.shard)
            batch.record(Action.DELETE, "schedules", entry.key, entry.shard)
            del self._schedules.entries[entry.key]
            self._scheduler.settle()
        await self._durable(False)

    @asynccontextmanager
    async def _at_rest(self, entry: Entry) -> AsyncIterator[None]:
        """Nothing becomes of it while the block runs, and all that did before is in the ledger."""
        if entry.deleting:
            raise Unavailable("somebody is deleting the schedule; try again")
        entry.deleting = True
        try:
            await self._durable(False)
            yield
        finally:
            entry.deleting = False
            self._schedules.arm(entry, 0)

    async def _tick_keys(self, entry: Entry) -> AsyncIterator[tuple[Any, ...]]:
        after: tuple[Any, ...] | None = None
        while True:
            query = RowQuery(
                "schedule_ticks",
                {"tenant": entry.tenant, "name": entry.name},
                order=("tick_ms", "number"),
                after=after,
                limit=_ROWS_AT_ONCE,
            )
            rows = await self._scheduler.ledger.rows(query)
            for row in rows:
                yield row[:4]
            if len(rows) < _ROWS_AT_ONCE:
                return
            after = rows[-1][2:4]

    # --- what they have in common -----------------------------------------------------------------

    async def _get(self, tenant: str, name: str) -> Entry:
        await self._schedules.ready(home_shard(tenant, name))
        entry = self._schedules.find((tenant, name))
        if entry is None:
            raise schedule_unknown(name)
        if entry.deleting:
            raise Unavailable("somebody is deleting the schedule; try again")
        return entry

    def _found_same(self, tenant: str, name: str, spec: ScheduleSpec) -> bool:
        entry = self._schedules.find((tenant, name))
        if entry is None:
            return False
        if entry.deleting:
            raise Unavailable("somebody is deleting the schedule; try again")
        if entry.raw_spec != spec.SerializeToString(deterministic=True):
            raise AlreadyExists(
                f"there is a schedule {name!r} already, with another spec; update it, or choose "
                "another name",
                reason="SCHEDULE_EXISTS",
            )
        return True

    async def _check_action(self, caller: Principal, spec: ScheduleSpec) -> None:
        most = limits.SCHEDULE_SPEC_BYTES_MAX
        if spec.ByteSize() > most:
            what = f"must be at most {most >> 10} KiB; make a larger input a blob"
            raise InvalidArgument(f"spec: {what}", violations=[Violation("spec", what)])
        is_contract = spec.action.HasField("contract")
        if is_contract:
            check_request(spec)
        starts = self._schedules.ticking.starts[CONTRACT if is_contract else RUN]
        await starts.check(caller, spec.action)

    def _deal_with_due(self, entry: Entry, now: Now) -> None:
        """Before anything changes, what is due is dealt with as it was."""
        self._scheduler.committer.require_room()
        self._schedules.look(entry, now)

    async def _changed(self, entry: Entry, now: Now, answer: bool) -> bool:
        """Record it, look what follows, and wait until that is durable."""
        self._schedules.ticking.record(entry)
        self._schedules.look(entry, now)
        self._scheduler.settle()
        return await self._durable(answer)

    async def _durable(self, answer: bool) -> bool:
        await self._scheduler.committer.barrier()
        return answer


def schedule_unknown(name: str) -> NotFound:
    """There is none, or it is another tenant's."""
    return NotFound(
        f"there is no schedule {name!r}; list them with: muster schedule list",
        reason="SCHEDULE_UNKNOWN",
    )
