"""Rules of runs and their records: R1 to R4, R7, R9, R10."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.support.history.evidence import Breach, Evidence
from tests.support.history.evidence_runs import (
    AFTER,
    Key,
    RunCase,
    key_of_entry,
    key_of_name,
)
from tests.support.history.records_runs import RunEntry, StepContract

OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
OK = "OK"


def no_lost_start(evidence: Evidence) -> Iterator[Breach]:
    """R1: a run that was accepted is found again by its start_id, is only ever one, and ends."""
    runs = evidence.runs
    found: dict[str, set[str]] = defaultdict(set)
    for each in evidence.history.runs_accepted:
        found[each.start_id].add(each.run_id)
        shown = runs.run(each.run_id).shown
        if shown is None:
            yield Breach(f"run {each.run_id} was accepted, and is not there", (each.run_id,))
        elif shown.start_id != each.start_id:
            sentence = f"run {each.run_id} was started as {each.start_id}, and is {shown.start_id}"
            yield Breach(sentence, (each.run_id,))
    for start_id, ids in found.items():
        if len(ids) > 1:
            yield Breach(f"start {start_id} became the runs {sorted(ids)}", tuple(sorted(ids)))
    for case in runs.runs.values():
        if case.shown is not None and case.shown.state not in OVER:
            yield Breach(f"run {case.run_id} is {case.shown.state} for ever", (case.run_id,))


def journals_have_no_gap(evidence: Evidence) -> Iterator[Breach]:
    """R2: a journal counts from 1 without a gap on every watch, each of which shows the same; its
    times do not go back; it begins with a start, and after an end only a retry follows."""
    for case in evidence.runs.runs.values():
        digests: dict[int, str] = {}
        for watch, entries in case.watches.items():
            numbers = [each.sequence for each in entries]
            if numbers != list(range(1, len(numbers) + 1)):
                sentence = f"the watch {watch} of run {case.run_id} got {_around(numbers)}"
                yield Breach(sentence, (case.run_id,))
            for each in entries:
                if digests.setdefault(each.sequence, each.digest) != each.digest:
                    sentence = f"entry {each.sequence} of run {case.run_id} is not always the same"
                    yield Breach(sentence, (case.run_id,))
        yield from _follows(case)


def _around(numbers: list[int]) -> str:
    wrong = next(at for at, number in enumerate(numbers, 1) if number != at)
    return f"{numbers[max(0, wrong - 2) : wrong + 1]} at place {wrong}"


def _follows(case: RunCase) -> Iterator[Breach]:
    entries = case.entries
    if not entries:
        if case.shown is not None:
            yield Breach(f"run {case.run_id} has no journal", (case.run_id,))
        return
    if entries[0].kind != "started":
        yield Breach(f"run {case.run_id} begins with {entries[0].kind}", (case.run_id,))
    for one, other in pairwise(entries):
        if other.time < one.time:
            sentence = f"entry {other.sequence} of run {case.run_id} is older than the one before"
            yield Breach(sentence, (case.run_id,))
        if one.kind == "ended" and other.kind != "retried":
            sentence = f"after the end of run {case.run_id} its journal has {other.kind}"
            yield Breach(sentence, (case.run_id,))
    if case.shown is not None and case.shown.state in OVER:
        last = entries[-1]
        if (last.kind, last.state) != ("ended", case.shown.state):
            sentence = f"run {case.run_id} is {case.shown.state}, and its journal ends with"
            yield Breach(f"{sentence} {last.kind} {last.state}".rstrip(), (case.run_id,))
        if last.sequence != case.shown.sequence:
            sentence = f"the journal of run {case.run_id} has {last.sequence} entries, not"
            yield Breach(f"{sentence} {case.shown.sequence}", (case.run_id,))


def one_contract_per_item(evidence: Evidence) -> Iterator[Breach]:
    """R3: an item of a step has one contract in a revision, and ends once, in the journal and as
    that contract; every contract of a run is for one of its items."""
    runs = evidence.runs
    for key, contracts in runs.by_key.items():
        if len(contracts) > 1:
            ids = tuple(sorted(each.contract_id for each in contracts))
            yield Breach(f"{key} has the contracts {list(ids)}", (key.run_id, *ids))
    for each in runs.contracts.values():
        of = key_of_name(each.request_id)
        if of is None or (of.run_id, of.step) != (each.run_id, each.step):
            sentence = f"contract {each.contract_id} of run {each.run_id} is called"
            yield Breach(f"{sentence} {each.request_id}", (each.run_id, each.contract_id))
    for case in runs.runs.values():
        ends = Counter(key_of_entry(entry) for entry in case.ended())
        for key, count in ends.items():
            if count > 1:
                yield Breach(f"{key} ended {count} times", (case.run_id,))
        by_key: dict[Key, set[str]] = defaultdict(set)
        for entry in case.ended():
            if entry.contract_id:
                by_key[key_of_entry(entry)].add(entry.contract_id)
        for key, told in by_key.items():
            named = {contract.contract_id for contract in runs.by_key.get(key, ())}
            if not told <= named:
                sentence = f"{key} ended as {sorted(told)}, and its contracts are {sorted(named)}"
                yield Breach(sentence, (case.run_id, *sorted(told | named)))


def record_and_response_agree(evidence: Evidence) -> Iterator[Breach]:
    """R4: every response of a step's contract is in its run's journal, once, as it is; and what the
    run shows of the item is what the response says."""
    runs = evidence.runs
    entries: dict[str, list[RunEntry]] = defaultdict(list)
    for case in runs.runs.values():
        for entry in case.ended():
            if entry.contract_id:
                entries[entry.contract_id].append(entry)
    for contract in runs.contracts.values():
        about = (contract.run_id, contract.contract_id)
        what = f"contract {contract.contract_id} of {contract.request_id}"
        told = entries.get(contract.contract_id, [])
        if not contract.end_time:
            yield Breach(f"{what} has not ended, and its run has", about)
        elif len(told) != 1:
            yield Breach(f"the response of {what} is {len(told)} times in the journal", about)
        else:
            yield from _agree(contract, told[0], what)
    for case in runs.runs.values():
        for item in case.items.values():
            contract_of = runs.contracts.get(item.contract_id)
            if contract_of is None or item.state != "SUCCEEDED":
                continue
            if item.digest != contract_of.digest:
                sentence = f"{item.step}/{item.index} of {case.run_id} does not show what contract"
                sentence = f"{sentence} {item.contract_id} gave back"
                yield Breach(sentence, (case.run_id, item.contract_id))


def _agree(contract: StepContract, entry: RunEntry, what: str) -> Iterator[Breach]:
    about = (contract.run_id, contract.contract_id)
    state = contract.state if contract.state in ("SUCCEEDED", "CANCELLED") else "FAILED"
    if (entry.state, entry.code) != (state, contract.code):
        sentence = f"{what} is {contract.state} {contract.code}".rstrip()
        yield Breach(f"{sentence}, and the journal says {entry.state} {entry.code}".rstrip(), about)


def outcomes_are_the_same(evidence: Evidence) -> Iterator[Breach]:
    """R7: a run comes to what it comes to when nothing is disturbed."""
    wanted = {each.body: each for each in evidence.history.expected}
    bodies = {each.start_id: each.body for each in evidence.history.runs_asked}
    for case in evidence.runs.runs.values():
        shown = case.shown
        expected = wanted.get(bodies.get(shown.start_id, "")) if shown is not None else None
        if shown is None or expected is None or shown.state not in OVER:
            continue
        if shown.state != expected.state:
            sentence = (
                f"run {case.run_id} of {expected.body} is {shown.state} {shown.code}".rstrip()
            )
            yield Breach(f"{sentence}, not {expected.state}", (case.run_id,))
        elif shown.outcome != expected.outcome:
            sentence = f"run {case.run_id} of {expected.body} came to something else"
            yield Breach(sentence, (case.run_id,))


def answers_are_in_the_record(evidence: Evidence) -> Iterator[Breach]:
    """R9: what was answered to a gate is in the journal once, with who answered, and is what the
    step gave back; nobody else is told that the answer was theirs."""
    for case in evidence.runs.runs.values():
        taken: dict[str, set[str]] = defaultdict(set)
        for each in case.answers:
            if each.outcome == OK:
                taken[each.question_id].add(each.digest)
        for question, digests in taken.items():
            if len(digests) > 1:
                sentence = f"question {question} of {case.run_id} took {len(digests)} answers"
                yield Breach(sentence, (case.run_id,))
            step, _, revision = question.rpartition(".")
            ends = [
                entry
                for entry in case.ended()
                if (entry.step, entry.revision) == (step, int(revision)) and not entry.undo
            ]
            if len(ends) != 1 or not ends[0].principal:
                sentence = f"the answer to {question} of {case.run_id} is"
                count = sum(bool(each.principal) for each in ends)
                yield Breach(f"{sentence} {count} times in the journal", (case.run_id,))
            item = case.items.get((step, 0))
            if item is not None and item.digest not in digests:
                sentence = f"step {step} of {case.run_id} gave back something else than its answer"
                yield Breach(sentence, (case.run_id,))


def children_and_parents_agree(evidence: Evidence) -> Iterator[Breach]:
    """R10: a child run is one item's, of which there is no other, and its end is its item's."""
    runs = evidence.runs
    by_key: dict[Key, list[RunCase]] = defaultdict(list)
    for case in runs.runs.values():
        key = key_of_name(case.shown.start_id) if case.shown is not None else None
        if key is not None:
            by_key[key].append(case)
    for key, cases in by_key.items():
        if len(cases) > 1:
            ids = tuple(sorted(each.run_id for each in cases))
            yield Breach(f"{key} has the runs {list(ids)}", (key.run_id, *ids))
    for case in runs.runs.values():
        for entry in case.ended():
            if not entry.child_id:
                continue
            child = runs.run(entry.child_id).shown if entry.child_id in runs.runs else None
            key = key_of_entry(entry)
            about = (case.run_id, entry.child_id)
            if child is None or key_of_name(child.start_id) != key:
                yield Breach(f"{key} ended as run {entry.child_id}, which is not its own", about)
            elif child.state != entry.state:
                yield Breach(f"run {child.run_id} is {child.state}, and {key} {entry.state}", about)
    for key, cases in by_key.items():
        parent = runs.runs.get(key.run_id)
        ends = [e for e in parent.ended() if key_of_entry(e) == key] if parent else []
        if parent is not None and AFTER in parent.watches and len(ends) != 1:
            sentence = f"run {cases[0].run_id} is {len(ends)} times in the journal of its parent"
            yield Breach(sentence, (key.run_id, cases[0].run_id))
