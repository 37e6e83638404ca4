"""A history of runs, put in order for the rules."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.support.history import records_runs as w
from tests.support.history.history import History

AFTER = "after"  # the watch of a whole journal, when all was over


class Key(NamedTuple):
    """One thing that is done once for a run: an item of a step in a revision, or what undoes the
    step, which is the item "undo"."""

    run_id: str
    step: str
    place: str
    revision: str

    def __str__(self) -> str:
        return f"{self.step}/{self.place} of {self.run_id} in revision {self.revision}"


def key_of_name(name: str) -> Key | None:
    """What a contract or a child run is for, by its request_id or start_id."""
    parts = name.split("/")
    return Key(*parts) if len(parts) == 4 else None


def key_of_entry(entry: w.RunEntry) -> Key:
    """What an ended item is about."""
    place = "undo" if entry.undo else str(entry.index)
    return Key(entry.run_id, entry.step, place, str(entry.revision))


@dataclass(slots=True)
class RunCase:
    """All that was written down of one run."""

    run_id: str
    shown: w.RunShown | None = None  # as it was last
    watches: dict[str, list[w.RunEntry]] = field(default_factory=lambda: defaultdict(list))
    steps: dict[str, w.StepShown] = field(default_factory=dict)
    items: dict[tuple[str, int], w.ItemShown] = field(default_factory=dict)
    answers: list[w.GateAnswered] = field(default_factory=list)

    @property
    def entries(self) -> list[w.RunEntry]:
        """Its journal, as it was read when all was over."""
        return self.watches.get(AFTER, [])

    def ended(self) -> list[w.RunEntry]:
        """The items that ended."""
        return [each for each in self.entries if each.kind == "item_ended"]


class RunEvidence:
    """What the rules of runs look at."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.runs: dict[str, RunCase] = {}
        for entry in history.run_entries:
            self.run(entry.run_id).watches[entry.watch].append(entry)
        for shown in history.runs_shown:
            self.run(shown.run_id).shown = shown
        for step in history.steps_shown:
            self.run(step.run_id).steps[step.step] = step
        for item in history.items_shown:
            self.run(item.run_id).items[item.step, item.index] = item
        for answer in history.gates_answered:
            self.run(answer.run_id).answers.append(answer)
        self.contracts = {each.contract_id: each for each in history.step_contracts}
        self.by_key: dict[Key, list[w.StepContract]] = defaultdict(list)
        for contract in self.contracts.values():
            key = key_of_name(contract.request_id)
            if key is not None:
                self.by_key[key].append(contract)
        # By contract, when a host was given it, or an agent began, by the wall clock.
        self.begun: dict[str, list[float]] = defaultdict(list)
        for assigned in history.assigned:
            self.begun[assigned.contract_id].append(assigned.wall)
        for execution in history.executions:
            self.begun[execution.contract_id].append(execution.wall)

    def run(self, run_id: str) -> RunCase:
        """The records of a run."""
        found = self.runs.get(run_id)
        if found is None:
            found = self.runs[run_id] = RunCase(run_id)
        return found
