"""A history, put in order for the rules: what concerns each contract, and what was around it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from tests.support.history import records as r
from tests.support.history.evidence_runs import RunEvidence
from tests.support.history.history import History, Records

Scope = tuple[str, str, str]  # tenant, principal, request_id


class Breach(NamedTuple):
    """A rule was broken. `contracts` are those it is about, runs included, if it is about any."""

    sentence: str
    contracts: tuple[str, ...] = ()


class Span(NamedTuple):
    """A fault, from its injection to its healing, by the monotonic clock."""

    fault: r.Fault
    begin: float
    end: float  # infinite while it is not healed


@dataclass(slots=True)
class Case(Records):
    """All records of one contract, its submissions included. `contract_id` is set after birth."""

    contract_id: str = ""

    @property
    def scopes(self) -> set[Scope]:
        """The requests that it was made for, as clients know it. One, if all is well."""
        return {(a.tenant, a.principal, a.request_id) for a in self.acknowledgements}

    @property
    def epochs(self) -> list[int]:
        """Of its committed attempts, as it was shown last."""
        return [attempt.epoch for attempt in self.shown[-1].attempts] if self.shown else []

    @property
    def agents_answers(self) -> list[r.Answer]:
        """Responses that an agent wrote."""
        return [each for each in self.answers if each.author == "AGENT"]

    @property
    def ended_at(self) -> float:
        """When somebody first saw that it had ended, by the monotonic clock; infinite if never."""
        seen = [each.at for each in self.answers]
        seen += [each.at for each in self.changes if each.type == "ENDED"]
        seen += [each.at for each in self.shown if each.end_time]
        return min(seen, default=float("inf"))


# Kinds that name one contract.
_OF_CONTRACTS = (
    *("acknowledgements", "cancellations", "questions", "answers", "shown", "listings"),
    *("changes", "items_seen", "watches_ended", "assigned", "executions", "items_sent"),
    *("reported", "verdicts", "decisions", "released"),
)
# Kinds that name a request, which may be of no contract that anybody knows.
_OF_REQUESTS = ("submissions", "unknowns", "refusals")


class Evidence:
    """What the rules look at. Made once of a history that no longer changes."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.cases: dict[str, Case] = {}
        for name in _OF_CONTRACTS:
            for record in getattr(history, name):
                getattr(self.case(record.contract_id), name).append(record)
        self.contracts_of: dict[Scope, set[str]] = defaultdict(set)
        for each in history.acknowledgements:
            scope = (each.tenant, each.principal, each.request_id)
            self.contracts_of[scope].add(each.contract_id)
        for name in _OF_REQUESTS:
            for record in getattr(history, name):
                scope = (record.tenant, record.principal, record.request_id)
                for contract_id in self.contracts_of.get(scope, ()):
                    getattr(self.cases[contract_id], name).append(record)

    def case(self, contract_id: str) -> Case:
        """The records of a contract."""
        found = self.cases.get(contract_id)
        if found is None:
            found = self.cases[contract_id] = Case(contract_id=contract_id)
        return found

    @cached_property
    def runs(self) -> RunEvidence:
        """What there is of workflow runs."""
        return RunEvidence(self.history)

    @cached_property
    def submitted(self) -> dict[Scope, list[r.Submission]]:
        """Every submission, by what makes it idempotent."""
        made: dict[Scope, list[r.Submission]] = defaultdict(list)
        for each in self.history.submissions:
            made[each.tenant, each.principal, each.request_id].append(each)
        return made

    @cached_property
    def request_ids(self) -> set[tuple[str, str]]:
        """Tenant and request_id of every submission."""
        return {(each.tenant, each.request_id) for each in self.history.submissions}

    @cached_property
    def nonces(self) -> dict[str, r.Execution]:
        """Which execution each nonce is of."""
        return {each.nonce: each for each in self.history.executions}

    @cached_property
    def tenants(self) -> dict[str, str]:
        """By host, whose agents it runs."""
        return {each.host: each.tenant for each in self.history.offered}

    @cached_property
    def last_words(self) -> dict[str, float]:
        """By journal, when something was last written into it."""
        last: dict[str, float] = {}
        for each in self.history.all():
            if each.at > last.get(each.by, 0.0):
                last[each.by] = each.at
        return last

    @cached_property
    def spans(self) -> list[Span]:
        """Every fault, in the order of their beginning."""
        open_ones: dict[tuple[str, str], r.Fault] = {}
        made: list[Span] = []
        for each in sorted(self.history.faults, key=lambda fault: fault.at):
            key = (each.name, each.target)
            if not each.healed:
                open_ones.setdefault(key, each)
            elif key in open_ones:
                fault = open_ones.pop(key)
                made.append(Span(fault, fault.at, each.at))
        made += [Span(each, each.at, float("inf")) for each in open_ones.values()]
        return sorted(made, key=lambda span: span.begin)

    def during(self, effect: str) -> list[Span]:
        """The faults with this effect."""
        return [span for span in self.spans if effect in span.fault.effects]

    def setting(self, name: str) -> float:
        """What the run says of itself; 0 where it says nothing."""
        return next((each.value for each in self.history.settings if each.name == name), 0.0)
