"""What becomes of ticks, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from muster.model import limits
from muster.scheduler import core_schedules as core
from muster.scheduler.core_schedule_times import Bounded, Every, Once
from muster.scheduler.core_schedules import (
    Noted,
    Outcome,
    Overlap,
    Progress,
    Rules,
    Start,
    TickKey,
    TickRow,
)

CONTRACT = 1
WINDOW_MS = 10_000


def rules(overlap: Overlap = Overlap.SKIP, **other) -> Rules:
    """Each second."""
    times = other.pop("times", Bounded(Every(0, 1_000), "seed"))
    return Rules(times, overlap, **({"catch_up_ms": WINDOW_MS} | other))


class Schedule:
    """A schedule for which every start succeeds, and its history."""

    def __init__(self, wanted: Rules, created_ms: int = 0) -> None:
        self.rules = wanted
        self.at = Progress(created_ms, created_ms)
        self.rows: dict[TickKey, TickRow] = {}
        self.cancelled: list[int] = []

    def look(self, now_ms: int) -> list[TickRow]:
        """What becomes of all that is due."""
        noted: list[TickRow] = []
        while (step := core.decide(self.rules, self.at, now_ms)) is not None:
            noted += self.do(step)
        return noted

    def do(self, step: core.Step) -> tuple[TickRow, ...]:
        if isinstance(step, Start):
            # Each target is called after its tick.
            step = core.started(self.at, step, step.tick.at_ms + step.tick.number, CONTRACT)
        return self.note(step)

    def note(self, noted: Noted) -> tuple[TickRow, ...]:
        self.at = noted.progress
        self.rows |= {row.tick: row for row in noted.rows}
        self.cancelled += [each.target for each in noted.cancel]
        return noted.rows

    def end(self, target: int) -> None:
        self.at = core.ended(self.at, target)

    def trigger(self, now_ms: int, name: str = "t", overlap: int = 0) -> tuple[TickRow, ...]:
        step = core.trigger(self.rules, self.at, now_ms, name, overlap)
        if isinstance(step, Start):
            _, self.at = core.name_trigger(self.at, now_ms, name)
        return self.do(step)

    def outcomes(self) -> dict[int, str]:
        return {row.tick.at_ms: row.outcome.name for row in self.rows.values()}


def test_a_tick_is_started_at_its_instant_and_once() -> None:
    schedule = Schedule(rules(Overlap.ALLOW))
    assert schedule.look(999) == []
    assert core.next_ms(schedule.rules, schedule.at) == 1_000
    (row,) = schedule.look(1_000)
    assert (row.tick, row.outcome, row.target) == (TickKey(1_000), Outcome.STARTED, 1_000)
    assert schedule.look(1_000) == schedule.look(1_999) == schedule.look(500) == []
    assert [row.tick.at_ms for row in schedule.look(3_100)] == [2_000, 3_000]


def test_what_runs_has_later_ticks_skipped_in_one_row() -> None:
    schedule = Schedule(rules())
    schedule.look(1_000)
    (row,) = schedule.look(4_500)
    assert row == TickRow(
        TickKey(2_000), Outcome.SKIPPED, detail=core.STILL_RUNS, ticks=3, last_ms=4_000
    )
    schedule.end(1_000)
    assert [row.outcome for row in schedule.look(5_000)] == [Outcome.STARTED]
    assert (schedule.at.started, schedule.at.skipped) == (2, 3)


def test_a_queue_is_worked_off_in_order_and_has_a_bound() -> None:
    schedule = Schedule(rules(Overlap.QUEUE, queue_max=2))
    schedule.look(5_000)
    assert schedule.outcomes() == {
        1_000: "STARTED",
        2_000: "WAITING",
        3_000: "WAITING",
        4_000: "SKIPPED",  # and 5,000
    }
    assert schedule.rows[TickKey(4_000)].ticks == 2
    kept = schedule.at.kept
    for target in (1_000, 2_000):
        schedule.end(target)
        assert core.next_ms(schedule.rules, schedule.at) == 0
        schedule.look(5_100)
    assert schedule.outcomes()[3_000] == "STARTED"
    assert [each.target for each in schedule.at.running] == [3_000]
    assert schedule.at.kept == kept == 4


def test_a_newer_tick_cancels_what_runs_and_starts_when_that_has_ended() -> None:
    schedule = Schedule(rules(Overlap.CANCEL))
    schedule.look(1_000)
    schedule.look(2_000)
    schedule.look(3_000)
    assert schedule.cancelled == [1_000]  # once
    assert schedule.outcomes() == {1_000: "STARTED", 2_000: "SKIPPED", 3_000: "WAITING"}
    schedule.end(1_000)
    schedule.look(3_100)
    assert schedule.outcomes()[3_000] == "STARTED"
    assert schedule.at.skipped == 1


def test_of_several_that_are_due_at_once_the_newest_cancels_the_others() -> None:
    schedule = Schedule(rules(Overlap.CANCEL))
    schedule.look(5_000)
    assert schedule.outcomes() == {1_000: "SKIPPED", 5_000: "STARTED"}
    assert schedule.rows[TickKey(1_000)].ticks == 4


@pytest.mark.parametrize("late_ms", [WINDOW_MS - 1, WINDOW_MS])
def test_a_tick_within_the_window_is_started_late(late_ms: int) -> None:
    schedule = Schedule(rules(times=Bounded(Once(1_000), "")))
    assert [row.outcome for row in schedule.look(1_000 + late_ms)] == [Outcome.STARTED]


def test_a_tick_beyond_the_window_is_missed() -> None:
    schedule = Schedule(rules(times=Bounded(Once(1_000), "")))
    (row,) = schedule.look(1_001 + WINDOW_MS)
    assert (row.outcome, row.detail) == (Outcome.MISSED, core.TOO_LATE)
    assert core.is_finished(schedule.rules, schedule.at)


def test_a_clock_set_forward_has_what_it_jumped_over_late_or_missed_once() -> None:
    schedule = Schedule(rules(Overlap.ALLOW))
    schedule.look(1_000)
    rows = schedule.look(3_600_000)
    missed = [row for row in rows if row.outcome is Outcome.MISSED]
    started = [row.tick.at_ms for row in rows if row.outcome is Outcome.STARTED]
    assert sum(row.ticks for row in missed) == 3_588
    assert len(missed) == 2  # of at most 2,000 each
    assert started == list(range(3_590_000, 3_600_001, 1_000))
    assert schedule.look(1_000) == schedule.look(3_600_500) == []


def test_a_clock_set_back_fires_nothing_again() -> None:
    schedule = Schedule(rules(Overlap.ALLOW))
    schedule.look(5_000)
    assert schedule.look(1_000) == schedule.look(2_500) == schedule.look(5_999) == []
    assert [row.tick.at_ms for row in schedule.look(6_000)] == [6_000]


def test_what_passes_during_a_pause_is_skipped_in_one_row() -> None:
    schedule = Schedule(rules())
    schedule.look(1_000)
    schedule.end(1_000)
    schedule.at = core.pause(schedule.at, "for repairs")
    assert schedule.look(4_500) == []
    assert core.next_ms(schedule.rules, schedule.at) is None
    schedule.at = core.resume(schedule.at, 4_500, "repaired")
    (row,) = schedule.look(4_500)
    assert row == TickRow(
        TickKey(2_000), Outcome.SKIPPED, detail=core.WAS_PAUSED, ticks=3, last_ms=4_000
    )
    assert [row.tick.at_ms for row in schedule.look(5_000)] == [5_000]
    assert (schedule.at.note, core.resume(schedule.at, 9_000, "x").note) == ("repaired", "repaired")


def test_what_waits_stays_waiting_during_a_pause() -> None:
    schedule = Schedule(rules(Overlap.QUEUE))
    schedule.look(2_000)
    schedule.at = core.pause(schedule.at, "")
    schedule.end(1_000)
    assert schedule.look(2_500) == []
    schedule.at = core.resume(schedule.at, 2_500, "")
    assert [row.tick.at_ms for row in schedule.look(2_500)] == [2_000]


def test_a_limit_counts_what_is_started_and_what_waits() -> None:
    schedule = Schedule(rules(Overlap.QUEUE, limit=2))
    assert [row.outcome.name for row in schedule.look(9_000)] == ["STARTED", "WAITING"]
    assert core.next_ms(schedule.rules, schedule.at) is None
    assert not core.is_finished(schedule.rules, schedule.at)
    schedule.end(1_000)
    schedule.look(9_100)
    assert core.is_finished(schedule.rules, schedule.at)
    assert [row.outcome.name for row in schedule.trigger(9_200)] == ["WAITING"]  # does not count


def test_what_is_refused_does_not_count_towards_the_limit() -> None:
    schedule = Schedule(rules(Overlap.ALLOW, limit=1))
    step = core.decide(schedule.rules, schedule.at, 1_000)
    assert isinstance(step, Start)
    schedule.note(core.refused(schedule.at, step.tick, "no such thing"))
    assert schedule.rows[TickKey(1_000)].detail == "no such thing"
    schedule.look(2_000)
    assert schedule.outcomes() == {1_000: "FAILED", 2_000: "STARTED"}


def test_a_tick_for_which_there_was_no_room_is_asked_for_again() -> None:
    schedule = Schedule(rules())
    first = core.decide(schedule.rules, schedule.at, 1_000)
    assert core.decide(schedule.rules, schedule.at, 1_500) == first
    assert isinstance(core.decide(schedule.rules, schedule.at, 20_000), Noted)  # missed by now


def test_a_triggered_tick_follows_the_policy_or_what_the_caller_says() -> None:
    schedule = Schedule(rules())
    (first,) = schedule.trigger(300, "a")
    assert (first.tick, first.outcome) == (TickKey(300, 1), Outcome.STARTED)
    (second,) = schedule.trigger(300, "b")
    assert (second.tick, second.outcome) == (TickKey(300, 2), Outcome.SKIPPED)
    (third,) = schedule.trigger(300, "c", Overlap.ALLOW)
    assert (third.tick, third.outcome) == (TickKey(300, 3), Outcome.STARTED)
    (fourth,) = schedule.trigger(300, "d", Overlap.CANCEL)
    assert (fourth.tick, fourth.outcome) == (TickKey(300, 4), Outcome.WAITING)
    assert schedule.cancelled == [301]  # what ALLOW has started is nobody's to keep in mind
    assert [each.trigger_id for each in schedule.at.triggered] == ["a", "b", "c", "d"]
    assert schedule.at.through_ms == 0


def test_a_triggered_tick_runs_while_the_schedule_is_paused() -> None:
    schedule = Schedule(rules(Overlap.QUEUE))
    schedule.at = core.pause(schedule.at, "")
    assert [row.outcome for row in schedule.trigger(1_500, "a")] == [Outcome.STARTED]
    assert [row.outcome for row in schedule.trigger(1_500, "b")] == [Outcome.WAITING]
    schedule.end(1_501)
    assert [row.tick.number for row in schedule.look(1_600)] == [2]


def test_only_the_last_triggers_are_known() -> None:
    at = Progress(0, 0)
    for number in range(limits.SCHEDULE_TRIGGERS_KEPT + 3):
        _, at = core.name_trigger(at, 1, str(number))
    assert next(each.trigger_id for each in at.triggered) == "3"
    assert at.last_number == limits.SCHEDULE_TRIGGERS_KEPT + 3


def test_other_times_count_from_the_change_and_keep_what_was() -> None:
    schedule = Schedule(rules(Overlap.ALLOW))
    schedule.look(2_000)
    schedule.rules = rules(Overlap.ALLOW, times=Bounded(Every(0, 700), ""))
    schedule.at = core.changed(schedule.at, 2_500, other_times=True)
    assert [row.tick.at_ms for row in schedule.look(4_000)] == [2_800, 3_500]
    assert (schedule.at.started, len(schedule.rows)) == (4, 4)
    same = core.changed(schedule.at, 9_000, other_times=False)
    assert same == schedule.at


def test_what_turns_out_to_be_another_thing_or_nothing_is_corrected() -> None:
    schedule = Schedule(rules())
    schedule.look(1_000)
    other = core.Running(TickKey(1_000), 77, CONTRACT)
    schedule.note(core.found(schedule.at, TickKey(1_000), 1_000, other))
    assert (schedule.rows[TickKey(1_000)].target, schedule.at.running) == (77, (other,))
    schedule.note(core.refused_late(schedule.at, TickKey(1_000), 77, "taken"))
    assert schedule.outcomes() == {1_000: "FAILED"}
    assert (schedule.at.running, schedule.at.started, schedule.at.failed) == ((), 0, 1)
    assert schedule.at.limited == 0


def test_a_long_pause_is_worked_off_in_parts() -> None:
    schedule = Schedule(rules())
    schedule.at = core.resume(core.pause(schedule.at, ""), 5_000_000, "")
    rows = schedule.look(5_000_000)
    assert [row.ticks for row in rows] == [2_000, 2_000, 1_000]
    assert schedule.at.skipped == 5_000


def test_progress_is_never_changed_in_place() -> None:
    at = Progress(0, 0)
    before = replace(at)
    core.decide(rules(), at, 9_000)
    core.trigger(rules(), at, 9_000, "a", 0)
    assert at == before
