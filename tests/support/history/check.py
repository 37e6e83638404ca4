"""Applies the rules to a history, and says what was broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tests.support.history import rules_attempts, rules_events, rules_responses
from tests.support.history.evidence import Breach, Evidence
from tests.support.history.history import History

Rule = Callable[[Evidence], Iterable[Breach]]

RULES: Mapping[str, Rule] = {
    "S1": rules_responses.no_lost_accept,
    "S2": rules_responses.one_response,
    "S3": rules_responses.newest_epoch_answers,
    "S5": rules_attempts.epochs_grow,
    "S6": rules_responses.no_phantom,
    "S7": rules_responses.ids_are_stable,
    "S9": rules_events.events_have_no_gap,
}


class Violation(NamedTuple):
    """A rule that a history breaks, and the contracts in which it does."""

    rule: str
    sentence: str
    contracts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"


def check(history: History) -> list[Violation]:
    """Every breach of the promise that the history shows."""
    evidence = Evidence(history)
    return [Violation(name, *breach) for name, rule in RULES.items() for breach in rule(evidence)]


def violations(history: History) -> list[str]:
    """The same, in words. Empty when the promise was kept."""
    return [str(each) for each in check(history)]
