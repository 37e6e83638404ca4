"""What two bugs share: a report that comes after a contract's end replaces its response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muster.backends.sqlite import hot
from muster.model.states import Author, ContractState, Outcome
from muster.scheduler.applying import Applying
from muster.scheduler.core_attempts import Attempts
from muster.scheduler.effects import Effect, End
from muster.scheduler.records import Now
from tests.faults.planted import put, replace_in


def plant_overwriting(concerned: Callable[[End], bool]) -> None:
    """Lets a report replace the response of each contract that is `concerned`."""
    replace_in(hot, "RESPONSES", "INSERT INTO", "INSERT OR REPLACE INTO")
    replace_in(hot, "RESPONSES", "ON CONFLICT (contract_id) DO NOTHING", "")
    apply, report_on = Applying.apply, Attempts.report
    ended: dict[int, End] = {}

    def and_remember(self: Applying, effects: list[Effect], now: Now) -> None:
        ended.update({each.contract.id: each for each in effects if isinstance(each, End)})
        apply(self, effects, now)

    def overwrite(
        self: Attempts, now: Now, session: str, number: int, epoch: int, report: object, **more: Any
    ) -> None:
        end = ended.get(number)
        if end is not None and concerned(end):
            wins = end._replace(state=ContractState.SUCCEEDED, outcome=Outcome.SUCCEEDED)
            said = wins._replace(author=Author.AGENT, code="", message="", report=report)
            self._core.effects.append(said)
        report_on(self, now, session, number, epoch, report, **more)

    put(Applying, "apply", and_remember)
    put(Attempts, "report", overwrite)
