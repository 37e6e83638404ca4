"""How schedules and their ticks look in a terminal."""

from __future__ import annotations

from rich.text import Text

from muster.cli import text
from muster.cli.messages import payload_line
from muster.cli.schedule_spec import OVERLAPS, action_line, length, times_line
from muster.cli.terminal import Row, state_text, table, without_empty_last
from muster.v1.schedule_pb2 import Schedule, SchedulePhase, ScheduleSpec, Tick, TickOutcome
from muster.wire.times import seconds_of_duration, seconds_of_timestamp

_CATCH_UP_DEFAULT = "10m"
_SHOWN_NEXT = 5


def phase(schedule: Schedule) -> str:
    """Where it is in its life."""
    return SchedulePhase.Name(schedule.phase).removeprefix("SCHEDULE_PHASE_")


def schedules_table(schedules: list[Schedule], now: float) -> Text:
    """All of them."""
    rows: list[Row] = []
    for each in schedules:
        counts = each.state.counts
        bad = counts.missed + counts.failed
        rows.append(
            [
                each.name,
                state_text(phase(each)),
                times_line(each.spec, now),
                action_line(each.spec.action),
                _next(each, now),
                text.number(counts.started),
                text.number(counts.skipped) if counts.skipped else "",
                Text(text.number(bad), "red") if bad else "",
            ]
        )
    columns = ["<SCHEDULE", "STATE", "<WHEN", "<STARTS", "NEXT", ">STARTED", ">SKIPPED", ">LOST"]
    return table(*without_empty_last(columns, rows))


def _next(schedule: Schedule, now: float) -> str:
    if not schedule.next_times:
        return "-"
    return until(seconds_of_timestamp(schedule.next_times[0]), now)


def until(instant: float, now: float) -> str:
    """How far ahead: "in 3m 04s"; "now" where it has come."""
    seconds = instant - now
    return f"in {text.age(seconds)}" if seconds >= 1 else "now"


def schedule_page(schedule: Schedule, ticks: list[Tick], now: float) -> Text:
    """One of them, with what comes and what was."""
    spec, state = schedule.spec, schedule.state
    page = Text()
    page.append(schedule.name, style="bold")
    page.append("  ").append_text(state_text(phase(schedule)))
    if state.note:
        page.append(f"  {text.shortened(state.note, 100)}", style="bright_black")
    for name, value in _facts(schedule, now):
        page.append(f"\n  {name:<9}", style="bright_black").append(value)
    _append_next(page, schedule, now)
    for running in state.running:
        page.append("\n  running  ", style="bright_black").append(running.target_id, "cyan")
        since = seconds_of_timestamp(running.tick.time)
        more = ", being cancelled" if running.cancelled else ""
        page.append(f"  of {text.clock(since, now)}{more}", style="bright_black")
    if state.waiting:
        page.append("\n  waiting  ", style="bright_black")
        page.append(text.counted(len(state.waiting), "tick"), "yellow")
    if spec.note:
        page.append(f"\n  {text.shortened(spec.note, 200)}", style="italic")
    if ticks:
        page.append("\n\n").append_text(ticks_table(ticks, now))
    return page


def _facts(schedule: Schedule, now: float) -> list[tuple[str, str]]:
    spec, counts = schedule.spec, schedule.state.counts
    facts = [("when", _when(spec, now)), ("starts", _what(schedule))]
    overlap = OVERLAPS[max(0, spec.overlap - 1)]
    queue = f" (at most {spec.queue_max or 10} wait)" if overlap == "queue" else ""
    late = _CATCH_UP_DEFAULT
    if spec.HasField("catch_up_window"):
        late = length(seconds_of_duration(spec.catch_up_window))
    facts.append(("overlap", f"{overlap}{queue}; at most {late} late"))
    told = [("started", counts.started), ("skipped", counts.skipped)]
    told += [("missed", counts.missed), ("failed", counts.failed)]
    shown = " · ".join(f"{text.number(n)} {name}" for name, n in told if n or name == "started")
    facts.append(("ticks", shown))
    changed = seconds_of_timestamp(schedule.update_time)
    facts.append(("by", f"{schedule.principal}, {text.age(now - changed)} ago"))
    return facts


def _when(spec: ScheduleSpec, now: float) -> str:
    parts = [times_line(spec, now)]
    if spec.HasField("jitter"):
        parts.append(f"up to {length(seconds_of_duration(spec.jitter))} later")
    if spec.HasField("start_time"):
        parts.append(f"from {text.clock(seconds_of_timestamp(spec.start_time), now)}")
    if spec.HasField("end_time"):
        parts.append(f"until {text.clock(seconds_of_timestamp(spec.end_time), now)}")
    if spec.limit:
        parts.append(f"{text.number(spec.limit)} times")
    return ", ".join(parts)


def _what(schedule: Schedule) -> str:
    action = schedule.spec.action
    payload = action.run.input if action.HasField("run") else action.contract.request.payload
    line = action_line(action)
    return f"{line}  {payload_line(payload, 80)}" if payload.WhichOneof("content") else line


def _append_next(page: Text, schedule: Schedule, now: float) -> None:
    name = "next"
    for instant in schedule.next_times[:_SHOWN_NEXT]:
        at = seconds_of_timestamp(instant)
        page.append(f"\n  {name:<9}", style="bright_black")
        page.append(f"{text.clock(at, now)}  ").append(until(at, now), style="bright_black")
        name = ""


def ticks_table(ticks: list[Tick], now: float) -> Text:
    """A history, as it comes."""
    columns = ["TICK", "OUTCOME", ">LATE", "STARTED", "<WHY"]
    seconds = [tick.time.seconds for tick in ticks if not tick.number]
    fine = len(set(seconds)) < len(seconds)  # several within a second
    rows = [_tick_row(tick, now, fine) for tick in ticks]
    return table(*without_empty_last(columns, rows))


def _tick_row(tick: Tick, now: float, fine: bool) -> Row:
    at = seconds_of_timestamp(tick.time)
    instant = text.clock(at, now)
    if fine:
        instant += f".{tick.time.nanos // 1_000_000:03}"
    if tick.number:
        instant += f" (triggered, {tick.number})"
    elif tick.count > 1:
        last = text.clock(seconds_of_timestamp(tick.last_time), now)
        instant += f" … {last} ({text.number(tick.count)})"
    outcome = TickOutcome.Name(tick.outcome).removeprefix("TICK_OUTCOME_")
    late = ""
    if tick.outcome == TickOutcome.TICK_OUTCOME_STARTED and not tick.number:
        late = text.duration(max(0.0, seconds_of_timestamp(tick.record_time) - at))
    return [instant, state_text(outcome), late, tick.target_id, text.shortened(tick.detail, 120)]
