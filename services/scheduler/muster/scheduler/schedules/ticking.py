"""Does what becomes of ticks: starts, records, and hears of ends.

Everything that one look at a schedule brings about goes into the batch that is being filled, and
nothing is waited for in between: what was started, the rows that say so, and how far the schedule
is are committed together or not at all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from muster.model import limits
from muster.model.errors import Code, MusterError
from muster.model.records import Action
from muster.runtime.distribution import MILLISECONDS, Distribution
from muster.scheduler import core_schedules as core
from muster.scheduler.core_schedules import Noted, Outcome, Running, Start, TickKey
from muster.scheduler.records import Now
from muster.scheduler.schedules.entry import Entry, Key
from muster.scheduler.schedules.messages import CONTRACT, RUN, row_of_tick
from muster.scheduler.schedules.starting import StartOf, Starts
from muster.scheduler.service import Scheduler

SCHEDULE_LABEL, TICK_LABEL = "muster.schedule", "muster.tick"
# Refusals that say nothing against the tick: it is tried again.
_LATER = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)


class Ticking:
    """Looks at one schedule after the other."""

    def __init__(
        self,
        scheduler: Scheduler,
        starts: Mapping[int, Starts],
        find: Callable[[Key], Entry | None],
        wake: Callable[[], None],
    ) -> None:
        """`find` gives what is owned now; `wake` has `heard` worked off, and what was acted on
        looked at."""
        self.starts = starts
        self.outcomes: Counter[Outcome] = Counter()  # ticks, in this life of the process
        self.lags = Distribution(MILLISECONDS)  # from when a tick was due to its start
        self.heard: deque[Callable[[Now], Entry | None]] = deque()
        self._scheduler = scheduler
        self._find = find
        self._wake = wake

    def look(self, entry: Entry, now: Now) -> bool:
        """Do what is to be done now, up to a bound. Returns whether something is to be tried again
        later, for the mesh has no room for it."""
        if entry.rules is None or entry.deleting:
            return False
        if not self._has_room():
            return True
        for _ in range(limits.SCHEDULE_STEPS_AT_ONCE_MAX):
            step = core.decide(entry.rules, entry.progress, now.wall_ms)
            if step is None:
                return False
            try:
                noted = self.start(entry, step, now) if isinstance(step, Start) else step
            except MusterError as error:
                if error.code in _LATER:
                    return True
                assert isinstance(step, Start)
                noted = core.refused(entry.progress, step.tick, error.message)
            self.note(entry, noted, now)
        return False

    def _has_room(self) -> bool:
        try:
            self._scheduler.committer.require_room()
        except MusterError:
            return False
        return True

    def start(self, entry: Entry, start: Start, now: Now) -> Noted:
        """Start a tick. Raises as `Starts.start`."""
        tick, kind = start.tick, kind_of(entry)
        target = self.starts[kind].start(
            now,
            entry.tenant,
            entry.principal,
            entry.spec.action,
            StartOf(
                start_id(entry.name, tick),
                entry.shard,
                entry.progress.created_ms,
                _labels(entry.name, tick),
            ),
            Teller(self, entry.key, tick, kind),
        )
        return core.started(entry.progress, start, target, kind)

    def note(self, entry: Entry, noted: Noted, now: Now) -> None:
        """Record what has become of ticks."""
        batch = self._scheduler.committer.batch
        for row in noted.rows:
            values = row_of_tick(entry.tenant, entry.name, row, now.wall_ms)
            batch.record(Action.PUT, "schedule_ticks", values, entry.shard)
            self.outcomes[row.outcome] += row.ticks
            if row.outcome is Outcome.STARTED:
                self.lags.add(now.wall_ms - row.tick.at_ms)
        entry.progress = noted.progress
        self.record(entry)
        for running in noted.cancel:
            starts = self.starts[running.kind]
            starts.cancel(now, entry.tenant, running.target, "a later tick of its schedule is due")

    def record(self, entry: Entry) -> None:
        """Record how far a schedule is."""
        batch = self._scheduler.committer.batch
        row = entry.row
        batch.record(Action.PUT, "schedules", row, entry.shard)
        batch.bytes += len(row.spec) + len(row.state)

    # --- what becomes of what was started ---------------------------------------------------------

    def hear(self, key: Key, act: Callable[[Entry, Now], None]) -> None:
        """Something is said about a target, in the middle of something else: act on it soon."""

        def heard(now: Now) -> Entry | None:
            entry = self._find(key)
            if entry is not None and not entry.deleting:
                act(entry, now)
            return entry

        self.heard.append(heard)
        self._wake()

    def ended(self, entry: Entry, target: int) -> None:
        """It has ended."""
        if any(each.target == target for each in entry.progress.running):
            entry.progress = core.ended(entry.progress, target)
            self.record(entry)

    def listen(self, entry: Entry, running: Running) -> None:
        """Hear of the end of what an earlier life of this process, or another one, has started."""
        teller = Teller(self, entry.key, running.tick, running.kind)
        self.starts[running.kind].listen(running.target, teller)


class Teller:
    """Passes on what is said about one target; see `Told`."""

    def __init__(self, ticking: Ticking, key: Key, tick: TickKey, kind: int) -> None:
        self._ticking = ticking
        self._key = key
        self._tick = tick
        self._kind = kind

    def ended(self, target: int) -> None:
        """See `Told`."""
        ticking = self._ticking
        ticking.hear(self._key, lambda entry, _: ticking.ended(entry, target))

    def found(self, target: int, other: int) -> None:
        """See `Told`."""
        running = Running(self._tick, other, self._kind)
        self._hear(lambda at: core.found(at, self._tick, target, running))

    def refused(self, target: int, error: MusterError) -> None:
        """See `Told`."""
        why = error.message
        self._hear(lambda at: core.refused_late(at, self._tick, target, why))

    def _hear(self, decide: Callable[[core.Progress], Noted]) -> None:
        ticking = self._ticking
        ticking.hear(self._key, lambda entry, now: ticking.note(entry, decide(entry.progress), now))


def kind_of(entry: Entry) -> int:
    """What its ticks start."""
    return RUN if entry.spec.action.WhichOneof("kind") == "run" else CONTRACT


def start_id(name: str, tick: TickKey) -> str:
    """Under which id a tick starts something."""
    made = f"schedule/{name}/{tick.at_ms}"
    return f"{made}/{tick.number}" if tick.number else made


def _labels(name: str, tick: TickKey) -> dict[str, str]:
    instant = datetime.fromtimestamp(tick.at_ms / 1000, UTC)
    told = instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {SCHEDULE_LABEL: name, TICK_LABEL: told}
