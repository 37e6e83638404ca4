"""Schedules and ticks, between the core, the ledger's rows and the wire."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from muster.model import limits
from muster.model.ids import format_id, parse_id
from muster.scheduler.core_schedules import (
    Progress,
    Rules,
    Running,
    TickKey,
    TickRow,
    Triggered,
    dues,
    is_finished,
)
from muster.scheduler.schedules.rules import rules_of
from muster.v1.schedule_pb2 import (
    SCHEDULE_PHASE_ACTIVE,
    SCHEDULE_PHASE_FINISHED,
    SCHEDULE_PHASE_PAUSED,
    Schedule,
    ScheduledTick,
    ScheduleSpec,
    ScheduleState,
    StartedTarget,
    Tick,
    TickOutcome,
    TriggeredTick,
)
from muster.wire.times import ms_of_timestamp, timestamp_of_ms

CONTRACT, RUN = 1, 2  # kinds of targets


class ScheduleRow(NamedTuple):
    """A row of the table schedules."""

    tenant: str
    name: str
    shard: int
    principal: str
    changed_ms: int
    spec: bytes
    state: bytes


def state_of(at: Progress) -> ScheduleState:
    """For the ledger, and for the wire."""
    state = ScheduleState(
        through_time=timestamp_of_ms(at.through_ms),
        create_time=timestamp_of_ms(at.created_ms),
        paused=at.paused,
        note=at.note,
        waiting=[_tick(each) for each in at.waiting],
        running=[
            StartedTarget(
                tick=_tick(each.tick),
                target_id=format_id(each.target),
                is_run=each.kind == RUN,
                cancelled=each.cancelled,
            )
            for each in at.running
        ],
        triggered=[
            TriggeredTick(trigger_id=each.trigger_id, tick=_tick(each.tick))
            for each in at.triggered
        ],
        limited=at.limited,
        kept=at.kept,
        last_number=at.last_number,
    )
    if at.paused_until_ms:
        state.paused_until.CopyFrom(timestamp_of_ms(at.paused_until_ms))
    counts = state.counts
    counts.started, counts.skipped = at.started, at.skipped
    counts.missed, counts.failed = at.missed, at.failed
    return state


def progress_of(state: ScheduleState) -> Progress:
    """The same, back."""
    counts = state.counts
    return Progress(
        ms_of_timestamp(state.through_time),
        ms_of_timestamp(state.create_time),
        state.paused,
        state.note,
        ms_of_timestamp(state.paused_until),
        tuple(_key(each) for each in state.waiting),
        tuple(
            Running(
                _key(each.tick),
                parse_id(each.target_id),
                RUN if each.is_run else CONTRACT,
                each.cancelled,
            )
            for each in state.running
        ),
        tuple(Triggered(each.trigger_id, _key(each.tick)) for each in state.triggered),
        counts.started,
        counts.skipped,
        counts.missed,
        counts.failed,
        state.limited,
        state.kept,
        state.last_number,
    )


def _tick(key: TickKey) -> ScheduledTick:
    return ScheduledTick(time=timestamp_of_ms(key.at_ms), number=key.number)


def _key(tick: ScheduledTick) -> TickKey:
    return TickKey(ms_of_timestamp(tick.time), tick.number)


def schedule_of(row: ScheduleRow) -> Schedule:
    """A schedule, as it stands in the ledger."""
    spec, state = ScheduleSpec.FromString(row.spec), ScheduleState.FromString(row.state)
    at = progress_of(state)
    made = Schedule(
        name=row.name,
        spec=spec,
        state=state,
        principal=row.principal,
        create_time=timestamp_of_ms(at.created_ms),
        update_time=timestamp_of_ms(row.changed_ms),
        phase=SCHEDULE_PHASE_PAUSED,
    )
    if not at.paused:
        rules = rules_or_none(row, spec, at)
        finished = rules is not None and is_finished(rules, at)
        made.phase = SCHEDULE_PHASE_FINISHED if finished else SCHEDULE_PHASE_ACTIVE
        if rules is not None:
            made.next_times.extend(_next_times(rules, at))
    return made


def _next_times(rules: Rules, at: Progress) -> list[Timestamp]:
    coming = (due for due in dues(rules, at) if due.tick_ms > at.paused_until_ms)
    return [timestamp_of_ms(due.fire_ms) for due in islice(coming, limits.SCHEDULE_NEXT_TIMES)]


def rules_or_none(row: ScheduleRow, spec: ScheduleSpec, at: Progress) -> Rules | None:
    """The rules; None where this machine does not know the time zone (any longer)."""
    try:
        return rules_of(row.tenant, row.name, spec, at.created_ms)
    except ValueError:
        return None


def row_of_tick(tenant: str, name: str, row: TickRow, recorded_ms: int) -> tuple[Any, ...]:
    """A row of the table schedule_ticks."""
    return (
        tenant,
        name,
        row.tick.at_ms,
        row.tick.number,
        recorded_ms,
        int(row.outcome),
        row.target,
        row.kind,
        row.detail,
        row.ticks,
        row.last_ms or row.tick.at_ms,
    )


def tick_of(row: Sequence[Any]) -> Tick:
    """An entry of the history, from its row."""
    _, _, tick_ms, number, recorded_ms, outcome, target, kind, detail, count, last_ms = row
    tick = Tick(
        time=timestamp_of_ms(tick_ms),
        number=number,
        record_time=timestamp_of_ms(recorded_ms),
        outcome=TickOutcome.ValueType(outcome),
        target_id=format_id(target) if target else "",
        is_run=kind == RUN,
        detail=detail,
        count=count,
    )
    if count > 1:
        tick.last_time.CopyFrom(timestamp_of_ms(last_ms))
    return tick
