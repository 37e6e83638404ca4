"""No tick is lost, and none is started twice: whatever dies, and whatever clocks say."""

from __future__ import annotations

from itertools import takewhile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from muster.scheduler import core_schedules as core
from muster.scheduler.core_schedule_times import Bounded, Every
from muster.scheduler.core_schedules import (
    Outcome,
    Overlap,
    Progress,
    Rules,
    Start,
    TickKey,
    TickRow,
)

CONTRACT = 1
STEPS_MAX = 10_000


class SchedulesMachine(RuleBasedStateMachine):
    """One schedule, a ledger that takes all of a batch or nothing, and a process that dies."""

    @initialize(
        overlap=st.sampled_from(Overlap),
        every_ms=st.integers(1, 50),
        jitter_ms=st.integers(0, 100),
        window_ms=st.integers(0, 400),
        limit=st.integers(0, 12),
        queue_max=st.integers(1, 3),
    )
    def create(self, overlap, every_ms, jitter_ms, window_ms, limit, queue_max) -> None:
        self.now_ms = 1_000
        times = Bounded(Every(1_000, every_ms), "seed", jitter_ms)
        self.wanted = Rules(times, overlap, queue_max, window_ms, limit)
        self.next_target = 0
        # What is in the ledger: how far it is, the history, and what was accepted for which tick.
        self.stored = Progress(1_000, 1_000)
        self.stored_rows: dict[TickKey, TickRow] = {}
        self.accepted: dict[int, TickKey] = {}
        self.ended: set[int] = set()
        self.die()

    def die(self) -> None:
        """All that is not committed is gone."""
        self.at = self.stored
        self.rows: dict[TickKey, TickRow] = {}
        self.starting: dict[int, TickKey] = {}

    def note(self, noted: core.Noted) -> None:
        assert noted.progress.through_ms >= self.at.through_ms
        self.at = noted.progress
        self.rows |= {row.tick: row for row in noted.rows}

    def commit(self) -> None:
        self.stored, self.stored_rows = self.at, self.stored_rows | self.rows
        self.accepted |= self.starting
        self.rows, self.starting = {}, {}

    def start(self, step: Start) -> None:
        self.next_target += 1
        self.starting[self.next_target] = step.tick
        self.note(core.started(self.at, step, self.next_target, CONTRACT))

    # --- what happens -----------------------------------------------------------------------------

    @rule(room=st.integers(0, 20), dies=st.booleans())
    def look(self, room: int, dies: bool) -> None:
        """The mesh has room for so many starts; the process may die before the commit."""
        for _ in range(STEPS_MAX):
            step = core.decide(self.wanted, self.at, self.now_ms)
            if step is None:
                break
            if not isinstance(step, Start):
                self.note(step)
            elif room:
                room -= 1
                self.start(step)
            else:
                break
        else:
            raise AssertionError("it never comes to rest")
        if dies:
            self.die()
        else:
            self.commit()

    @rule(ms=st.integers(0, 300))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(ms=st.integers(-3_000, 3_000))
    def the_clock_is_moved(self, ms: int) -> None:
        self.now_ms = max(1, self.now_ms + ms)

    @rule()
    def something_ends(self) -> None:
        for running in self.stored.running[:1]:
            self.ended.add(running.target)
            self.at = core.ended(self.at, running.target)
            self.commit()

    @rule()
    def somebody_pauses(self) -> None:
        self.at = core.pause(self.at, "")
        self.commit()

    @rule()
    def somebody_resumes(self) -> None:
        self.at = core.resume(self.at, self.now_ms, "")
        self.commit()

    @rule(policy=st.sampled_from([0, *Overlap]), dies=st.booleans())
    def somebody_triggers(self, policy: int, dies: bool) -> None:
        step = core.trigger(self.wanted, self.at, self.now_ms, "t", policy)
        if isinstance(step, Start):
            _, self.at = core.name_trigger(self.at, self.now_ms, "t")
            self.start(step)
        else:
            self.note(step)
        if dies:
            self.die()
        else:
            self.commit()

    # --- what is always true ----------------------------------------------------------------------

    @invariant()
    def every_instant_up_to_there_has_come_to_one_end(self) -> None:
        instants = [
            due.tick_ms
            for due in takewhile(
                lambda due: due.tick_ms <= self.stored.through_ms, self.wanted.times.after(1_000)
            )
        ]
        told: list[int] = []
        for row in self.stored_rows.values():
            if row.tick.number:
                continue
            last_ms = row.last_ms or row.tick.at_ms
            covered = [each for each in instants if row.tick.at_ms <= each <= last_ms]
            assert len(covered) == row.ticks
            told += covered
        assert sorted(told) == instants

    @invariant()
    def what_was_started_is_what_the_history_says_and_each_tick_once(self) -> None:
        started = {
            row.target: tick
            for tick, row in self.stored_rows.items()
            if row.outcome is Outcome.STARTED
        }
        assert started == self.accepted
        assert len(set(self.accepted.values())) == len(self.accepted)

    @invariant()
    def counts_agree_with_the_history(self) -> None:
        at, rows = self.stored, self.stored_rows.values()
        for outcome, counted in (
            (Outcome.STARTED, at.started),
            (Outcome.SKIPPED, at.skipped),
            (Outcome.MISSED, at.missed),
        ):
            assert sum(row.ticks for row in rows if row.outcome is outcome) == counted
        waiting = {row.tick for row in rows if row.outcome is Outcome.WAITING}
        assert waiting == set(at.waiting)
        assert at.kept == len(self.stored_rows)

    @invariant()
    def nothing_overlaps_that_must_not(self) -> None:
        limit, at = self.wanted.limit, self.stored
        waiting = sum(1 for tick in at.waiting if not tick.number)
        assert not limit or at.limited + waiting <= limit
        assert len(at.waiting) <= self.wanted.queue_max
        assert {each.target for each in at.running} <= self.accepted.keys() - self.ended


SchedulesMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestSchedules = SchedulesMachine.TestCase
