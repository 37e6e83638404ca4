"""The smallest history that shows a violation, and how it is printed.

It holds only records of the contracts that the violation is about, and what concerns no contract:
faults, sessions, settings. Of these as many are left out as can be while the very same sentence
comes out (Zeller's delta debugging): what is left is what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

from tests.support.history.check import Violation, breaks, check
from tests.support.history.evidence import Evidence
from tests.support.history.history import History, history_of
from tests.support.history.records import Assigned, Attempt, Record

SHOWN_MAX = 5  # violations in a report; one cause often breaks many contracts
JUDGED_MAX = 400_000  # records, in all tries of leaving some out: a few seconds
LINES_MAX = 40  # of one violation


def smallest(history: History, violation: Violation) -> list[Record]:
    """What it takes to show a violation, in the order of time."""
    records = _concerned(history, violation)
    left = JUDGED_MAX

    def shows(some: Sequence[Record]) -> bool:
        nonlocal left
        left -= len(some)
        return left > 0 and breaks(history_of(*some), violation)

    if not violation.contracts or not shows(records):
        return records[:LINES_MAX]
    return _reduce(records, shows)


def _concerned(history: History, violation: Violation) -> list[Record]:
    """Records of its contracts, and those that are of none."""
    evidence = Evidence(history)
    wanted = set(violation.contracts)
    cases = [evidence.cases[each] for each in violation.contracts if each in evidence.cases]
    subjects = wanted | {each.request_id for case in cases for each in case.submissions}
    found: list[Record] = [record for case in cases for record in case.all()]
    hosts = {each.host for each in found if isinstance(each, Assigned)}
    calls = {(each.by, each.call) for each in history.calls_started if each.subject in subjects}
    found += [each for each in history.calls_started if (each.by, each.call) in calls]
    found += [each for each in history.calls_ended if (each.by, each.call) in calls]
    found += [each for each in history.offered if each.host in hosts]
    found += [each for each in history.welcomed if each.host in hosts]
    sessions = {each.session for each in history.welcomed if each.host in hosts}
    found += [each for each in history.beats if each.session in sessions]
    found += [each for each in history.sessions_closed if each.session in sessions]
    # That there was a watch of everything.
    found += [each for each in history.changes if each.watch.startswith("all")][:1]
    found += [*history.faults, *history.settings, *history.opened]
    found += _of_runs(history, wanted)
    if not wanted:
        found += history.counted
    return sorted(found, key=lambda record: record.at)


def _of_runs(history: History, wanted: set[str]) -> Iterator[Record]:
    """What was written down of runs that are among the `wanted`, or of their contracts."""
    starts = {each.start_id for each in history.runs_shown if each.run_id in wanted}
    starts |= {each.start_id for each in history.runs_accepted if each.run_id in wanted}
    bodies = {each.body for each in history.runs_asked if each.start_id in starts}
    yield from (each for each in history.runs_asked if each.start_id in starts)
    yield from (each for each in history.expected if each.body in bodies)
    for several in (
        *(history.runs_accepted, history.run_entries, history.runs_shown, history.steps_shown),
        *(history.items_shown, history.step_contracts, history.gates_answered),
    ):
        yield from (each for each in several if each.run_id in wanted)


def _reduce(records: list[Record], shows: Callable[[Sequence[Record]], bool]) -> list[Record]:
    """Leaves out ever smaller parts, until no single one can be left out."""
    size = max(1, len(records) // 2)
    while True:
        at, left_out = 0, False
        while at < len(records):
            fewer = records[:at] + records[at + size :]
            if fewer and shows(fewer):
                records, left_out = fewer, True
            else:
                at += size
        if size == 1 and not left_out:
            return records
        size = max(1, size // 2)


def report(history: History, found: Sequence[Violation] | None = None) -> str:
    """All violations in words, the first of each rule with its smallest history."""
    found = check(history) if found is None else found
    if not found:
        return "no violations"
    first: dict[str, Violation] = {}
    for each in found:
        first.setdefault(each.rule, each)
    lines = [f"{len(found)} violations"]
    for violation in list(first.values())[:SHOWN_MAX]:
        same = sum(each.rule == violation.rule for each in found)
        lines += ["", f"{violation}   (one of {same})"]
        lines += _table(smallest(history, violation))
    return "\n".join(lines)


def assert_kept(history: History) -> None:
    """Fails with a report when the promise was broken."""
    found = check(history)
    if found:
        raise AssertionError(report(history, found))


def _table(records: list[Record]) -> Iterator[str]:
    began = min((each.at for each in records), default=0.0)
    for each in records[:LINES_MAX]:
        yield f"  {each.at - began:9.3f} s  {each.by:<14} {type(each).__name__:<16} {_words(each)}"
    if len(records) > LINES_MAX:
        yield f"  … and {len(records) - LINES_MAX} more"


def _words(record: Record) -> str:
    """Its fields, but for those that say nothing."""
    words = []
    for each in fields(record):
        value = getattr(record, each.name)
        if each.name in ("at", "wall", "by") or value in ("", 0, None, []):
            continue
        words.append(f"{each.name}={_short(value)}")
    return " ".join(words)


def _short(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_short(each) for each in value) + "]"
    if isinstance(value, Attempt):
        return f"{value.number}: {value.epoch} {value.outcome} at {value.agent}"
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
