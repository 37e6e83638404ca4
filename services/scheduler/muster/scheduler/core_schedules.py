"""What becomes of a schedule's ticks, decided without doing any of it.

Theory. A tick is an instant of the schedule (or one that somebody triggered). `Progress.through_ms`
says up to which instant all are dealt with: it only ever grows, and what becomes of a tick is
recorded in the transaction that moves it past that tick. So none is left out, for the next look
goes on from there; and none fires twice, whatever a clock says: one that goes back finds the
instants again behind `through_ms`, one that jumps ahead finds all that it jumped over between there
and now.

`decide` looks at what a schedule has and says the one thing that comes next. Whoever calls it does
that, records it, and asks again until there is nothing. What could not be started for the moment is
not recorded: the same question has the same answer later, until the catch-up window is over.

Instants that come to the same end for the same reason are folded into one row, so that a year of
seconds that nobody ran is no year of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import islice, takewhile
from typing import NamedTuple

from muster.model import limits
from muster.scheduler.core_schedule_times import Bounded, Due


class Overlap(IntEnum):
    """What becomes of a tick while something goes on; numbered as `muster.v1.OverlapPolicy`."""

    SKIP = 1
    QUEUE = 2
    CANCEL = 3
    ALLOW = 4


class Outcome(IntEnum):
    """What became of a tick; numbered as `muster.v1.TickOutcome`."""

    STARTED = 1
    SKIPPED = 2
    MISSED = 3
    FAILED = 4
    WAITING = 5


STILL_RUNS = "what an earlier tick started still goes on"
QUEUE_FULL = "as many as may wait already do"
SUPERSEDED = "a newer tick has taken its place"
WAS_PAUSED = "the schedule was paused"
FOUND = "an earlier schedule of this name had started it"
TOO_LATE = "nobody could start it within the catch-up window"


class TickKey(NamedTuple):
    """A tick by its name."""

    at_ms: int
    number: int = 0  # of one that somebody triggered; 0: an instant of the schedule


class Running(NamedTuple):
    """What a tick started, and goes on."""

    tick: TickKey
    target: int
    kind: int  # of thing that it is; never looked into here
    cancelled: bool = False


class Triggered(NamedTuple):
    """A tick that somebody triggered, by what the caller calls it."""

    trigger_id: str
    tick: TickKey


class TickRow(NamedTuple):
    """An entry of the history; a later one of the same tick takes its place."""

    tick: TickKey
    outcome: Outcome
    target: int = 0
    kind: int = 0  # of the target
    detail: str = ""
    ticks: int = 1
    last_ms: int = 0  # the instant of the last one; of one, its own


@dataclass(frozen=True, slots=True)
class Rules:
    """What somebody wants, in plain values."""

    times: Bounded
    overlap: Overlap = Overlap.SKIP
    queue_max: int = limits.SCHEDULE_QUEUE_DEFAULT
    catch_up_ms: int = int(limits.SCHEDULE_CATCH_UP_DEFAULT_SECONDS * 1000)
    limit: int = 0  # ticks that are started; 0: any number


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a schedule is. Never changed; each step makes another one."""

    through_ms: int
    created_ms: int
    paused: bool = False
    note: str = ""
    paused_until_ms: int = 0  # instants up to this one passed while it was paused
    waiting: tuple[TickKey, ...] = ()
    running: tuple[Running, ...] = ()
    triggered: tuple[Triggered, ...] = ()
    started: int = 0
    skipped: int = 0
    missed: int = 0
    failed: int = 0
    limited: int = 0  # started, and counted towards the limit
    kept: int = 0  # rows in the history, about
    last_number: int = 0  # of the last triggered tick


class Start(NamedTuple):
    """Start this tick now, then call `started`, or `refused` where that is for good."""

    tick: TickKey
    overlap: Overlap


class Noted(NamedTuple):
    """Record these rows; have what these targets are cancelled."""

    rows: tuple[TickRow, ...]
    progress: Progress
    cancel: tuple[Running, ...] = ()


Step = Start | Noted


# --- what is due ----------------------------------------------------------------------------------


def dues(rules: Rules, at: Progress) -> Iterator[Due]:
    """What has not been dealt with, in order; as far as the limit leaves any."""
    coming = rules.times.after(at.through_ms)
    if not rules.limit:
        return coming
    waiting = sum(1 for tick in at.waiting if not tick.number)
    return islice(coming, max(0, rules.limit - at.limited - waiting))


def next_ms(rules: Rules, at: Progress) -> int | None:
    """When to look again if nothing happens before, 0 for at once; None: never."""
    if _may_start_waiting(at):
        return 0
    if at.paused:
        return None
    due = next(dues(rules, at), None)
    return None if due is None else due.fire_ms


def is_finished(rules: Rules, at: Progress) -> bool:
    """Whether no tick is left that would be started by itself."""
    return not at.waiting and next(dues(rules, at), None) is None


# --- what comes next ------------------------------------------------------------------------------


def decide(rules: Rules, at: Progress, now_ms: int) -> Step | None:
    """The one thing that comes next; None: nothing, for now."""
    if _may_start_waiting(at):
        return Start(at.waiting[0], rules.overlap)
    if at.paused:
        return None
    first = next(dues(rules, at), None)
    if first is None:
        return None
    if first.tick_ms <= at.paused_until_ms:
        # All of them, whatever the limit: nobody would have started them.
        passed = takewhile(
            lambda due: due.tick_ms <= at.paused_until_ms, rules.times.after(at.through_ms)
        )
        return _left_out(at, _ticks(passed), Outcome.SKIPPED, WAS_PAUSED)
    if first.fire_ms > now_ms:
        return None
    since_ms = now_ms - rules.catch_up_ms
    if first.fire_ms < since_ms:
        late = takewhile(lambda due: due.fire_ms < since_ms, rules.times.after(at.through_ms))
        return _left_out(at, _ticks(late), Outcome.MISSED, TOO_LATE)
    return _due(rules, at, first, now_ms)


def _may_start_waiting(at: Progress) -> bool:
    return bool(at.waiting) and not at.running and (at.waiting[0].number > 0 or not at.paused)


def _due(rules: Rules, at: Progress, first: Due, now_ms: int) -> Step:
    """What becomes of the ticks that are due, of which there is at least one."""
    tick, busy = TickKey(first.tick_ms), bool(at.running or at.waiting)

    def all_due() -> list[int]:
        return _ticks(takewhile(lambda due: due.fire_ms <= now_ms, dues(rules, at)))

    if rules.overlap is Overlap.CANCEL:
        ticks = all_due()
        if len(ticks) > 1:
            return _left_out(at, ticks[:-1], Outcome.SKIPPED, SUPERSEDED)
    if not busy or rules.overlap is Overlap.ALLOW:
        return Start(tick, rules.overlap)
    if rules.overlap is Overlap.CANCEL:
        return _superseding(at, tick)
    if rules.overlap is Overlap.QUEUE:
        if len(at.waiting) < rules.queue_max:
            return _waits(at, tick)
        return _left_out(at, all_due(), Outcome.SKIPPED, QUEUE_FULL)
    return _left_out(at, all_due(), Outcome.SKIPPED, STILL_RUNS)


def trigger(rules: Rules, at: Progress, now_ms: int, trigger_id: str, overlap: int) -> Step:
    """What becomes of a tick that somebody wants now. With `overlap` 0 the rules' own counts.

    `Start` is for `named`, which makes the progress to go on from.
    """
    policy = Overlap(overlap) if overlap else rules.overlap
    tick, named = name_trigger(at, now_ms, trigger_id)
    if policy is Overlap.ALLOW or not (at.running or at.waiting):
        return Start(tick, policy)
    if policy is Overlap.CANCEL:
        return _superseding(named, tick)
    if policy is Overlap.QUEUE and len(at.waiting) < rules.queue_max:
        return _waits(named, tick)
    why = QUEUE_FULL if policy is Overlap.QUEUE else STILL_RUNS
    return Noted((TickRow(tick, Outcome.SKIPPED, detail=why),), _counted(named, Outcome.SKIPPED, 1))


def name_trigger(at: Progress, now_ms: int, trigger_id: str) -> tuple[TickKey, Progress]:
    """A tick for this trigger, and the progress that knows it."""
    tick = TickKey(now_ms, at.last_number + 1)
    known = (*at.triggered, Triggered(trigger_id, tick))[-limits.SCHEDULE_TRIGGERS_KEPT :]
    return tick, replace(at, triggered=known, last_number=tick.number)


def _ticks(passed: Iterator[Due]) -> list[int]:
    """Their instants; no more than can be counted in a moment: the next look goes on with more."""
    return [due.tick_ms for due in islice(passed, limits.SCHEDULE_FOLD_MAX)]


def _left_out(at: Progress, ticks: Sequence[int], outcome: Outcome, why: str) -> Noted:
    row = TickRow(TickKey(ticks[0]), outcome, 0, 0, why, len(ticks), ticks[-1])
    return Noted((row,), replace(_counted(at, outcome, len(ticks)), through_ms=ticks[-1]))


def _waits(at: Progress, tick: TickKey) -> Noted:
    moved = replace(_past(at, tick), waiting=(*at.waiting, tick), kept=at.kept + 1)
    return Noted((TickRow(tick, Outcome.WAITING, detail=STILL_RUNS),), moved)


def _superseding(at: Progress, tick: TickKey) -> Noted:
    """A tick that waits alone, until what goes on has been cancelled."""
    gone = tuple(TickRow(each, Outcome.SKIPPED, detail=SUPERSEDED) for each in at.waiting)
    cancel = tuple(each for each in at.running if not each.cancelled)
    moved = replace(
        _past(at, tick),
        waiting=(tick,),
        running=tuple(each._replace(cancelled=True) for each in at.running),
        skipped=at.skipped + len(gone),
        kept=at.kept + 1,
    )
    return Noted((*gone, TickRow(tick, Outcome.WAITING, detail=STILL_RUNS)), moved, cancel)


# --- what has happened ----------------------------------------------------------------------------


def started(at: Progress, start: Start, target: int, kind: int) -> Noted:
    """The tick was started as this target, which is of this kind."""
    tick = start.tick
    moved = _dealt_with(at, tick, Outcome.STARTED)
    if start.overlap is not Overlap.ALLOW:
        moved = replace(moved, running=(*moved.running, Running(tick, target, kind)))
    if not tick.number:
        moved = replace(moved, limited=moved.limited + 1)
    return Noted((TickRow(tick, Outcome.STARTED, target, kind),), moved)


def refused(at: Progress, tick: TickKey, why: str) -> Noted:
    """The tick cannot be started, now or later."""
    row = TickRow(tick, Outcome.FAILED, detail=why)
    return Noted((row,), _dealt_with(at, tick, Outcome.FAILED))


def refused_late(at: Progress, tick: TickKey, target: int, why: str) -> Noted:
    """What was recorded as started has turned out to be nothing."""
    moved = ended(at, target)
    limited = moved.limited - (0 if tick.number else 1)
    moved = replace(moved, started=moved.started - 1, failed=moved.failed + 1, limited=limited)
    return Noted((TickRow(tick, Outcome.FAILED, detail=why),), moved)


def found(at: Progress, tick: TickKey, target: int, other: Running) -> Noted:
    """What the tick was to start was there already, as another target."""
    running = tuple(other if each.target == target else each for each in at.running)
    row = TickRow(tick, Outcome.STARTED, other.target, other.kind, FOUND)
    return Noted((row,), replace(at, running=running))


def ended(at: Progress, target: int) -> Progress:
    """What a tick started has ended."""
    return replace(at, running=tuple(each for each in at.running if each.target != target))


def pause(at: Progress, note: str) -> Progress:
    """Nothing more is started by itself."""
    return replace(at, paused=True, note=note)


def resume(at: Progress, now_ms: int, note: str) -> Progress:
    """What passed meanwhile is left out; the rest goes on."""
    if not at.paused:
        return at
    return replace(at, paused=False, note=note, paused_until_ms=now_ms)


def changed(at: Progress, now_ms: int, *, other_times: bool) -> Progress:
    """Other rules hold from now on; where their times differ, for instants from now on."""
    return replace(at, through_ms=max(at.through_ms, now_ms)) if other_times else at


def trimmed(at: Progress, rows: int) -> Progress:
    """So many rows of the history are gone."""
    return replace(at, kept=max(0, at.kept - rows))


def _past(at: Progress, tick: TickKey) -> Progress:
    return at if tick.number else replace(at, through_ms=max(at.through_ms, tick.at_ms))


def _dealt_with(at: Progress, tick: TickKey, outcome: Outcome) -> Progress:
    waited = tick in at.waiting
    moved = _counted(_past(at, tick), outcome, 1)
    if waited:  # its row is there already
        waiting = tuple(each for each in at.waiting if each != tick)
        moved = replace(moved, waiting=waiting, kept=at.kept)
    return moved


def _counted(at: Progress, outcome: Outcome, ticks: int) -> Progress:
    name = outcome.name.lower()
    return replace(at, kept=at.kept + 1, **{name: getattr(at, name) + ticks})
