"""What is noted of changes once they are committed: how long things took, and their spans.

On the hot path: durations are only put aside here, and counted when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from muster.model.states import ContractState, Outcome
from muster.runtime.distribution import MILLISECONDS, Distribution
from muster.runtime.logs import get_logger
from muster.scheduler.effects import Change, End, EndAttempt
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
        self._states: Counter[ContractState] = Counter()
        self._outcomes: Counter[Outcome | None] = Counter()
        self._ended: list[ContractState] = []
        self._tried: list[Outcome | None] = []

    def committed(self, changes: Iterable[Change], withdrawn: Container[int]) -> None:
        """These are durable, but for those of `withdrawn` contracts."""
        lives, waits, tries = self._lives.fresh, self._waits.fresh, self._tries.fresh
        ended, tried = self._ended, self._tried
        spans = self.spans
        for change in changes:
            kind = type(change)
            if kind is not End and kind is not EndAttempt:
                continue
            contract, lease, ended_ms = change.contract, change.lease, change.ended_ms  # type: ignore[union-attr]
            if withdrawn and contract.id in withdrawn:
                continue
            if kind is End:
                lives.append(ended_ms - contract.accepted_ms)
                ended.append(change.state)  # type: ignore[union-attr]
                if change.state is ContractState.DEAD_LETTERED:  # type: ignore[union-attr]
                    _tell_dead_letter(change)  # type: ignore[arg-type]
            if lease is not None:
                waits.append(lease.leased_ms - lease.queued_ms)
                tries.append(ended_ms - lease.leased_ms)
                tried.append(change.outcome)  # type: ignore[union-attr]
            if spans is not None:
                self._tell(spans, change)  # type: ignore[arg-type]
        if len(tried) > PUT_ASIDE_MAX or len(ended) > PUT_ASIDE_MAX:
            self._count()

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
