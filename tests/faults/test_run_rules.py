"""Every rule of runs is checked: a history that keeps the promise, and one breach after another."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.history import Fault, History, Record, check, report
from tests.support.history import records_runs as w
from tests.support.history.evidence_runs import AFTER
from tests.support.history.journal import decode, encode
from tests.support.history.records import OWNER
from tests.support.history_runs_model import BAD, CHILD, GOOD, WALL, RunsModel


def kept() -> History:
    return RunsModel().history


def test_what_a_correct_mesh_does_with_runs_breaks_no_rule() -> None:
    history = kept()
    assert check(history) == [], report(history)


def test_what_is_written_down_of_runs_is_read_again() -> None:
    history = kept()
    records: list[Record] = [*history.run_entries, *history.runs_shown, *history.steps_shown]
    records += [*history.step_contracts, *history.gates_answered]
    for each in records:
        assert decode(json.loads(encode(each))) == replace(
            each, at=round(each.at, 6), wall=round(each.wall, 6)
        )


def change(history: History, name: str, where: Callable[[Any], bool], /, **values: Any) -> None:
    """Changes every record of a list that it is about, of which there is one at least."""
    records = getattr(history, name)
    found = [at for at, each in enumerate(records) if where(each)]
    assert found
    for at in found:
        records[at] = replace(records[at], **values)


def again(history: History, name: str, where: Callable[[Any], bool], /, **values: Any) -> None:
    """Adds a record like one that is there."""
    records = getattr(history, name)
    records.append(replace(next(each for each in records if where(each)), **values))


def drop(history: History, name: str, where: Callable[[Any], bool]) -> None:
    """Leaves out the records that it is about."""
    records = getattr(history, name)
    left = [each for each in records if not where(each)]
    assert len(left) < len(records)
    records[:] = left


def of(run_id: str, **values: Any) -> Callable[[Any], bool]:
    """Records of a run with these values."""
    return lambda each: (
        each.run_id == run_id
        and all(getattr(each, name) == value for name, value in values.items())
    )


def contract(step: str, index: str, run_id: str = GOOD) -> Callable[[Any], bool]:
    return lambda each: each.request_id == f"{run_id}/{step}/{index}/0"


def named(history: History, step: str, index: str, run_id: str = GOOD) -> w.StepContract:
    return next(filter(contract(step, index, run_id), history.step_contracts))


def entered_twice(history: History, run_id: str, **values: Any) -> None:
    """An entry comes again before the run's end, under the next number."""
    for watch in ("live", AFTER):
        entry = next(filter(of(run_id, watch=watch, **values), history.run_entries))
        later = of(run_id, watch=watch)
        for at, each in enumerate(history.run_entries):
            if later(each) and each.sequence > entry.sequence:
                number = each.sequence + 1
                moved = replace(each, sequence=number, digest=f"{run_id}-{number}")
                history.run_entries[at] = moved
        history.run_entries.append(
            replace(entry, sequence=entry.sequence + 1, digest=f"{run_id}-{entry.sequence + 1}")
        )
        history.run_entries.sort(key=lambda each: (each.run_id, each.watch, each.sequence))
    shown = next(filter(of(run_id), history.runs_shown))
    change(history, "runs_shown", of(run_id), sequence=shown.sequence + 1)


def executed_at(history: History, contract_id: str, at: float) -> None:
    """An agent begins this contract at a time of the wall clock."""
    first = history.executions[0]
    later = replace(first, contract_id=contract_id, nonce="another", epoch=2 << 32, wall=at)
    history.executions.append(later)


def undone_in_order(history: History) -> None:
    """The steps change places in the journal."""
    places = {"two": "one", "one": "two"}
    for at, each in enumerate(history.run_entries):
        if each.run_id == BAD and each.undo:
            history.run_entries[at] = replace(each, step=places[each.step], contract_id="")
    drop(history, "step_contracts", lambda each: each.request_id.split("/")[2] == "undo")


def woken(history: History, seconds: float) -> None:
    """The timer's entry came so much later."""
    due = next(each.due for each in history.run_entries if each.due)
    change(history, "run_entries", of(GOOD, kind="woken"), time=due + seconds)
    change(history, "run_entries", of(GOOD, kind="ended"), time=due + max(seconds, 0.3))


Breaching = Callable[[History], object]

BREACHES: dict[str, tuple[str, Breaching]] = {
    "an accepted run is not there": ("R1", lambda h: drop(h, "runs_shown", of(GOOD))),
    "a start became two runs": (
        "R1",
        lambda h: again(h, "runs_accepted", of(GOOD), run_id=CHILD),
    ),
    "a run never ends": ("R1", lambda h: change(h, "runs_shown", of(GOOD), state="RUNNING")),
    "an entry is missing": ("R2", lambda h: drop(h, "run_entries", of(GOOD, sequence=3))),
    "a watch missed one": (
        "R2",
        lambda h: drop(h, "run_entries", of(GOOD, sequence=3, watch="live")),
    ),
    "an entry came twice": ("R2", lambda h: again(h, "run_entries", of(GOOD, sequence=3))),
    "watches differ": (
        "R2",
        lambda h: change(h, "run_entries", of(GOOD, sequence=3, watch="live"), digest="other"),
    ),
    "time goes back": (
        "R2",
        lambda h: change(h, "run_entries", of(GOOD, sequence=3), time=WALL - 1),
    ),
    "it ends twice": (
        "R2",
        lambda h: entered_twice(h, GOOD, kind="ended"),
    ),
    "it does not begin with its start": (
        "R2",
        lambda h: change(h, "run_entries", of(GOOD, sequence=1), kind="paused"),
    ),
    "the last entry is no end": (
        "R2",
        lambda h: drop(h, "run_entries", of(GOOD, kind="ended")),
    ),
    "an item has two contracts": (
        "R3",
        lambda h: again(h, "step_contracts", contract("two", "0"), contract_id="c99"),
    ),
    "a contract is another run's": (
        "R3",
        lambda h: change(h, "step_contracts", contract("two", "0"), run_id=BAD),
    ),
    "an item ends twice": (
        "R3",
        lambda h: entered_twice(h, GOOD, kind="item_ended", step="two", index=0),
    ),
    "an item ends as a contract that nobody knows": (
        "R3",
        lambda h: drop(h, "step_contracts", contract("two", "0")),
    ),
    "a response is not in the journal": (
        "R4",
        lambda h: change(h, "run_entries", of(GOOD, step="two", index=0), contract_id=""),
    ),
    "a contract is open for ever": (
        "R4",
        lambda h: change(h, "step_contracts", contract("two", "0"), end_time=0.0),
    ),
    "the journal says another state": (
        "R4",
        lambda h: change(h, "step_contracts", contract("two", "0"), state="FAILED"),
    ),
    "the journal says another reason": (
        "R4",
        lambda h: change(h, "step_contracts", contract("bad", "0", BAD), code="OTHER"),
    ),
    "another output is shown": (
        "R4",
        lambda h: change(h, "items_shown", of(GOOD, step="two", index=1), digest="other"),
    ),
    "a step begins before the one before has ended": (
        "R5",
        lambda h: change(h, "steps_shown", of(GOOD, step="gate"), start_time=WALL),
    ),
    "what it depends on is open": (
        "R5",
        lambda h: change(h, "steps_shown", of(GOOD, step="two"), state="RUNNING"),
    ),
    "an agent saw it too soon": (
        "R5",
        lambda h: executed_at(h, named(h, "two", "0", BAD).contract_id, WALL + 1.0),
    ),
    "a step ran again after its response": (
        "R6",
        lambda h: executed_at(
            h, named(h, "two", "0").contract_id, named(h, "two", "0").end_time + 0.5
        ),
    ),
    "it came to something else": (
        "R7",
        lambda h: change(h, "runs_shown", of(GOOD), outcome="other"),
    ),
    "it failed": (
        "R7",
        lambda h: change(h, "expected", lambda each: True, state="FAILED"),
    ),
    "a step was not undone": (
        "R8",
        lambda h: change(h, "run_entries", of(BAD, step="one", undo=True), kind="woken"),
    ),
    "they were undone in the order of their doing": ("R8", undone_in_order),
    "two were undone at a time": (
        "R8",
        lambda h: executed_at(
            h, named(h, "one", "undo", BAD).contract_id, named(h, "bad", "0", BAD).end_time
        ),
    ),
    "an answer is not in the record": (
        "R9",
        lambda h: change(h, "run_entries", of(GOOD, step="gate"), principal=""),
    ),
    "an answer is there twice": (
        "R9",
        lambda h: entered_twice(h, GOOD, kind="item_ended", step="gate"),
    ),
    "two answers were taken": (
        "R9",
        lambda h: change(h, "gates_answered", of(GOOD, digest="no"), outcome="OK"),
    ),
    "the step gave back another answer": (
        "R9",
        lambda h: change(h, "items_shown", of(GOOD, step="gate"), digest="other"),
    ),
    "an item has two runs": (
        "R10",
        lambda h: again(h, "runs_shown", of(CHILD), run_id="000000000000000d"),
    ),
    "an item ended as a run that is not its own": (
        "R10",
        lambda h: change(h, "run_entries", of(GOOD, step="child"), child_id=BAD),
    ),
    "a child's end is another than its item's": (
        "R10",
        lambda h: change(h, "run_entries", of(GOOD, step="child"), state="CANCELLED"),
    ),
    "a parent never heard of its child's end": (
        "R10",
        lambda h: change(h, "run_entries", of(GOOD, step="child"), kind="woken"),
    ),
    "a timer woke too soon": ("R11", lambda h: woken(h, -0.1)),
    "a timer woke too late": ("R11", lambda h: woken(h, 3.0)),
}


@pytest.mark.parametrize("what", BREACHES)
def test_a_breach_is_named_by_its_rule(what: str) -> None:
    rule, breach = BREACHES[what]
    history = kept()
    breach(history)
    found = check(history)
    assert rule in {each.rule for each in found}, found
    assert rule in report(history, found)


def test_every_rule_of_runs_has_a_breach() -> None:
    assert {rule for rule, _ in BREACHES.values()} == {f"R{number}" for number in range(1, 12)}


def test_a_timer_may_be_late_while_nobody_looks_after_it() -> None:
    history = kept()
    woken(history, 3.0)
    due = next(each.due for each in history.run_entries if each.due)
    for healed, seconds in ((False, -0.5), (True, 2.0)):
        at = due - WALL + seconds
        history.faults.append(Fault("kill", healed, "mesh", [OWNER], at=at, wall=due + seconds))
    assert check(history) == []


def test_what_a_run_breaks_is_shown_with_that_runs_records_only() -> None:
    history = kept()
    change(history, "runs_shown", of(GOOD), state="RUNNING")
    text = report(history)
    assert GOOD in text
    assert BAD not in text
