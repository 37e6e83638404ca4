"""One run's interpreter, and what has come for it. Nothing here knows of Temporal, or of time."""

from __future__ import annotations

from collections.abc import Iterable

from muster.v1.engine_pb2 import ControlFlow, RunEntries
from muster.v1.response_pb2 import Failure
from muster.v1.workflow_run_pb2 import RunEvent
from muster.wire.times import ms_of_timestamp
from muster.workflow import facts as f
from muster.workflow.exchange import plan_of_message
from muster.workflow.facts import Want
from muster.workflow.journal import fact_of
from muster.workflow.machine import Machine
from muster.workflow.plan import Plan

NO_PLAN = Plan({})


class Folding:
    """Folds entries in their order, in whichever order and however often they come."""

    def __init__(self) -> None:
        self.machine = Machine(NO_PLAN)
        self.begun = False  # there is a plan
        self.known = 0  # the newest entry that anybody spoke of
        self.failure: Failure | None = None  # of the run, when it has ended
        self._waiting: dict[int, RunEvent] = {}
        self._fresh: list[Want] = []
        self._wake_ms = 0  # the earliest instant that is waited for; 0: there is none

    def begin(self, flow: ControlFlow) -> None:
        """What the run is a run of."""
        self.machine = Machine(plan_of_message(flow))
        self.begun = True

    def take(self, entries: RunEntries) -> None:
        """Something has come."""
        self.known = max(self.known, entries.sequence)
        for event in entries.entries:
            if event.sequence > self.machine.sequence:
                self._waiting[event.sequence] = event
                self.known = max(self.known, event.sequence)

    def fold(self) -> None:
        """Take what can be taken."""
        while self.begun and (event := self._waiting.pop(self.machine.sequence + 1, None)):
            self._fresh += self.machine.apply(fact_of(event), ms_of_timestamp(event.time))
            if event.HasField("ended"):
                self.failure = event.ended.failure if event.ended.HasField("failure") else None

    def lacks(self) -> bool:
        """Whether there are entries that have not come."""
        return not self.begun or self.known > self.machine.sequence

    def has_news(self) -> bool:
        """Whether something has come that was not folded."""
        return self.lacks() or bool(self._fresh)

    def is_over(self) -> bool:
        """Whether the run has ended, as far as is known here."""
        return self.machine.is_over and not self.lacks()

    @property
    def wake_ms(self) -> int:
        """The earliest instant that is waited for, in Unix milliseconds; 0: there is none."""
        return self._wake_ms

    # --- wants ------------------------------------------------------------------------------------

    def want_all(self) -> None:
        """Want everything that has not come true, also what was asked for before."""
        self._fresh = self.machine.outstanding()
        self._wake_ms = 0

    def wake(self) -> None:
        """An instant has come: want what was to be done then."""
        self._wake_ms = 0
        self._fresh += [each for each in self.machine.outstanding() if isinstance(each, f.Wake)]

    def wants(self, now_ms: int) -> list[Want]:
        """What is to be asked for now. Instants that have not come are kept."""
        fresh, self._fresh = self._fresh, []
        return list(self._due(fresh, now_ms))

    def _due(self, wants: Iterable[Want], now_ms: int) -> Iterable[Want]:
        for want in wants:
            if isinstance(want, f.Wake) and want.at_ms > now_ms:
                self._wake_ms = min(self._wake_ms or want.at_ms, want.at_ms)
            else:
                yield want
