"""A history: all records of a run, by kind, from memory or from a folder of journals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import Any

from tests.support.history import records as r
from tests.support.history import records_runs as runs
from tests.support.history.journal import KINDS, SUFFIX, read


@dataclass(slots=True)
class Records:
    """One list per kind. What one process wrote stands in the order in which it wrote it."""

    submissions: list[r.Submission] = field(default_factory=list)
    acknowledgements: list[r.Acknowledgement] = field(default_factory=list)
    unknowns: list[r.Unknown] = field(default_factory=list)
    refusals: list[r.Refusal] = field(default_factory=list)
    cancellations: list[r.Cancellation] = field(default_factory=list)
    calls_started: list[r.CallStarted] = field(default_factory=list)
    calls_ended: list[r.CallEnded] = field(default_factory=list)
    questions: list[r.Question] = field(default_factory=list)
    answers: list[r.Answer] = field(default_factory=list)
    shown: list[r.Shown] = field(default_factory=list)
    listings: list[r.Listing] = field(default_factory=list)
    changes: list[r.Change] = field(default_factory=list)
    items_seen: list[r.ItemSeen] = field(default_factory=list)
    watches_ended: list[r.WatchEnded] = field(default_factory=list)
    counted: list[r.Counted] = field(default_factory=list)
    offered: list[r.Offered] = field(default_factory=list)
    welcomed: list[r.Welcomed] = field(default_factory=list)
    beats: list[r.Beat] = field(default_factory=list)
    sessions_closed: list[r.SessionClosed] = field(default_factory=list)
    assigned: list[r.Assigned] = field(default_factory=list)
    executions: list[r.Execution] = field(default_factory=list)
    items_sent: list[r.ItemSent] = field(default_factory=list)
    reported: list[r.Reported] = field(default_factory=list)
    verdicts: list[r.Verdict] = field(default_factory=list)
    decisions: list[r.Decision] = field(default_factory=list)
    released: list[r.Released] = field(default_factory=list)
    faults: list[r.Fault] = field(default_factory=list)
    settings: list[r.Setting] = field(default_factory=list)
    opened: list[r.Opened] = field(default_factory=list)
    runs_asked: list[runs.RunAsked] = field(default_factory=list)
    runs_accepted: list[runs.RunAccepted] = field(default_factory=list)
    run_entries: list[runs.RunEntry] = field(default_factory=list)
    runs_shown: list[runs.RunShown] = field(default_factory=list)
    steps_shown: list[runs.StepShown] = field(default_factory=list)
    items_shown: list[runs.ItemShown] = field(default_factory=list)
    step_contracts: list[runs.StepContract] = field(default_factory=list)
    gates_answered: list[runs.GateAnswered] = field(default_factory=list)
    expected: list[runs.Expected] = field(default_factory=list)

    def add(self, record: r.Record) -> None:
        """Adds a record of any kind."""
        getattr(self, LISTS[type(record)]).append(record)

    def all(self) -> Iterator[r.Record]:
        """Every record, kind by kind."""
        return chain.from_iterable(getattr(self, name) for name in LISTS.values())


LISTS: dict[type[r.Record], str] = dict(
    zip(KINDS.values(), (each.name for each in fields(Records)), strict=True)
)


@dataclass(slots=True)
class History(Records):
    """All that was written down in a run."""

    # What was read of each journal: where to go on, and its executions so far.
    _journals: dict[Path, tuple[int, list[r.Execution]]] = field(default_factory=dict)

    @property
    def contract_ids(self) -> list[str]:
        """Every contract that was acknowledged, in that order."""
        return list(dict.fromkeys(entry.contract_id for entry in self.acknowledgements))

    @property
    def epochs(self) -> dict[str, list[int]]:
        """By contract, the epochs of its committed attempts, as it was shown last."""
        return {each.contract_id: [a.epoch for a in each.attempts] for each in self.shown}

    def read_journal(self, host: str, journal: Path) -> None:
        """Adds what a process has written down since the last time. `host` is its name.

        Executions are whole after it, even if somebody has cleared them.
        """
        offset, executions = self._journals.get(journal, (0, []))
        records, offset = read(journal, offset)
        for record in records:
            record.by = host
            if isinstance(record, r.Execution):
                executions.append(record)
            else:
                self.add(record)
        self._journals[journal] = offset, executions
        others = [each for each in self.executions if each.by != host]
        self.executions[:] = others + executions

    def read_folder(self, folder: Path) -> None:
        """Adds all that is new in a folder of journals."""
        for journal in sorted(folder.glob(f"*{SUFFIX}")):
            self.read_journal(journal.stem, journal)


def history_of(*records: Any) -> History:
    """A history of these records."""
    made = History()
    for record in records:
        made.add(record)
    return made


def executions_per_contract(history: History) -> float:
    """Mean number of executions of the contracts that were acknowledged."""
    runs = Counter(entry.contract_id for entry in history.executions)
    contracts = history.contract_ids
    return sum(runs[each] for each in contracts) / len(contracts)
