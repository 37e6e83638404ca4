"""What is noted of changes once they are committed: how long things took, and their spans.

On the hot path: durations are only put aside here, and counted when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from time import perf_counter_ns
from typing import Any

from muster.model.states import ContractState, Outcome
from muster.runtime.distribution import MICROSECONDS, MILLISECONDS, Distribution
from muster.runtime.logs import get_logger
from muster.scheduler.core import Core
from muster.scheduler.effects import Change, End, EndAttempt
from muster.scheduler.records import Now
from muster.scheduler.spans import ContractSpans, asked_by

PUT_ASIDE_MAX = 8_192  # attempts that ended; then they are counted

_log = get_logger("muster.scheduler")


class Observer:
    """Notes what became of contracts and attempts, since the start of the process."""

    def __init__(self, spans: ContractSpans | None = None) -> None:
        self.spans = spans
        self._lives = Distribution(MILLISECONDS)
        self._waits = Distribution(MILLISECONDS)
        self._tries = Distribution(MILLISECONDS)
        self._plans = Distribution(MICROSECONDS)
        self._states: Counter[ContractState] = Counter()
        self._outcomes: Counter[Outcome | None] = Counter()
        self._ended: list[ContractState] = []
        self._tried: list[Outcome | None] = []
        self._notes: dict[type, Callable[[Any], None]] = {End: self._end, EndAttempt: self._try}

    def committed(self, changes: Iterable[Change], withdrawn: Collection[int]) -> None:
        """These are durable, but for those of `withdrawn` contracts."""
        notes = self._notes
        for change in changes:
            note = notes.get(type(change))
            if note is not None and not (withdrawn and change.contract.id in withdrawn):
                note(change)
        if len(self._tried) > PUT_ASIDE_MAX or len(self._ended) > PUT_ASIDE_MAX:
            self._count()

    def plan(self, core: Core, now: Now) -> bool:
        """Have the core place what it can, and note how long that took where anything waits."""
        if not core.queue.lanes:
            return core.plan(now)
        began = perf_counter_ns()
        more = core.plan(now)
        self._plans.fresh.append((perf_counter_ns() - began) // 1000)
        if len(self._plans.fresh) > PUT_ASIDE_MAX:
            self._plans.fold()
        return more

    def _end(self, end: End) -> None:
        self._lives.fresh.append(end.ended_ms - end.contract.accepted_ms)
        self._ended.append(end.state)
        if end.state is ContractState.DEAD_LETTERED:
            _tell_dead_letter(end)
        self._try(end)

    def _try(self, change: End | EndAttempt) -> None:
        lease = change.lease
        if lease is not None:
            self._waits.fresh.append(lease.leased_ms - lease.queued_ms)
            self._tries.fresh.append(change.ended_ms - lease.leased_ms)
            self._tried.append(change.outcome)
        if self.spans is not None:
            self._tell(self.spans, change)

    def _tell(self, spans: ContractSpans, change: End | EndAttempt) -> None:
        try:
            spans.ended(change)
        except Exception:  # noqa: BLE001 - whatever is wrong with a span, contracts go on
            _log.exception("no more spans: one could not be made")
            self.spans = None

    def _count(self) -> None:
        self._states.update(self._ended)
        self._ended.clear()
        self._outcomes.update(self._tried)
        self._tried.clear()
        for each in (self._lives, self._waits, self._tries):
            each.fold()

    @property
    def states(self) -> Counter[ContractState]:
        """How many contracts have ended, by their state."""
        self._count()
        return self._states

    @property
    def outcomes(self) -> Counter[Outcome | None]:
        """How many attempts have ended, by what became of them."""
        self._count()
        return self._outcomes

    @property
    def lives(self) -> Distribution:
        """From acceptance to the end of a contract."""
        return self._lives

    @property
    def waits(self) -> Distribution:
        """From when a contract could be leased to its lease."""
        return self._waits

    @property
    def plans(self) -> Distribution:
        """How long placing took, each time."""
        return self._plans

    @property
    def tries(self) -> Distribution:
        """From a lease to the end of its attempt."""
        return self._tries


def _tell_dead_letter(end: End) -> None:
    contract = end.contract
    ids = {"contract_id": contract.name}
    asking = asked_by(contract.body)
    if asking is not None:
        ids["trace_id"], ids["span_id"] = f"{asking.trace_id:032x}", f"{asking.span_id:016x}"
    _log.warning(
        "a contract is a dead letter", capability=contract.capability, code=end.code, **ids
    )
