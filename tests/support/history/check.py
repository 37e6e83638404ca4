"""Applies the rules to a history, and says what was broken.

A rule is a function from the evidence to its breaches. Each is named after what it holds in the
promise (S1–S17, L1–L3); `Window` is the bound of the session's flow control, R1–R11 are of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.support.history import (
    rules_attempts,
    rules_counts,
    rules_events,
    rules_reports,
    rules_responses,
    rules_runs,
    rules_runs_order,
    rules_time,
)
from tests.support.history.evidence import Breach, Evidence
from tests.support.history.history import History

Rule = Callable[[Evidence], Iterable[Breach]]

RULES: tuple[tuple[str, Rule], ...] = (
    ("S1", rules_responses.no_lost_accept),
    ("S1", rules_time.ends_in_time),
    ("S2", rules_responses.one_response),
    ("S3", rules_responses.newest_epoch_answers),
    ("S4", rules_reports.stale_reports_change_nothing),
    ("S4", rules_reports.leases_end_with_their_session),
    ("S5", rules_attempts.epochs_grow),
    ("S6", rules_responses.no_phantom),
    ("S7", rules_responses.ids_are_stable),
    ("S8", rules_reports.resends_are_known),
    ("S9", rules_events.events_have_no_gap),
    ("S10", rules_events.chunks_are_contiguous),
    ("S11", rules_events.cancels_hold),
    ("S12", rules_time.expires_in_time),
    ("S13", rules_attempts.attempts_are_bounded),
    ("S14", rules_attempts.agents_are_entitled),
    ("S15", rules_counts.nothing_is_miscounted),
    ("S16", rules_time.calls_end),
    ("S17", rules_attempts.executed_once),
    ("L1", rules_time.everything_settles),
    ("L2", rules_time.others_go_on),
    ("L3", rules_time.no_livelock),
    ("Window", rules_attempts.windows_hold),
    ("R1", rules_runs.no_lost_start),
    ("R2", rules_runs.journals_have_no_gap),
    ("R3", rules_runs.one_contract_per_item),
    ("R4", rules_runs.record_and_response_agree),
    ("R5", rules_runs_order.nothing_begins_too_soon),
    ("R6", rules_runs_order.nothing_runs_again),
    ("R7", rules_runs.outcomes_are_the_same),
    ("R8", rules_runs_order.what_was_done_is_undone),
    ("R9", rules_runs.answers_are_in_the_record),
    ("R10", rules_runs.children_and_parents_agree),
    ("R11", rules_runs_order.instants_are_kept),
)


class Violation(NamedTuple):
    """A rule that a history breaks, and the contracts and runs in which it does."""

    rule: str
    sentence: str
    contracts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"


def check(history: History) -> list[Violation]:
    """Every breach of the promise that the history shows, rule by rule, each once."""
    evidence = Evidence(history)
    found = (Violation(name, *breach) for name, rule in RULES for breach in rule(evidence))
    return list(dict.fromkeys(found))


def violations(history: History) -> list[str]:
    """The same, in words. Empty when the promise was kept."""
    return [str(each) for each in check(history)]


def breaks(history: History, violation: Violation) -> bool:
    """Whether a history shows this very breach."""
    evidence = Evidence(history)
    return any(
        breach == violation[1:]
        for name, rule in RULES
        if name == violation.rule
        for breach in rule(evidence)
    )
