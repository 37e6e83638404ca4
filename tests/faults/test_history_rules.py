"""Every rule is checked: histories that keep the promise, and one breach after another.

The histories that keep it come from a tiny model of a mesh (`history_model`); a breach changes a
little in one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.history import History, check, report, violations
from tests.support.history import records as r
from tests.support.history_model import BEFORE, ENDS, WALL, Life, Model, healed

# What the lives of the history are about, by the contract that each makes.
SIMPLE, LOST, CANCELLED, LATE_CANCEL, EXPIRED, BURIED, FAILING = (f"c{n}" for n in range(1, 8))
LIVES = (
    Life(chunks=3, submits=3, resends=1, watches=2),
    Life(before=("LOST",), zombies=True),
    Life(end="CANCELLED", late_cancel=True),
    Life(late_cancel=True),
    Life(end="EXPIRED"),
    Life(before=("LOST", "LOST", "LOST"), zombies=True),
    Life(before=("FAILED", "TIMED_OUT", "returned", "vanished")),
)


def kept() -> History:
    model = Model()
    for life in LIVES:
        model.live(life)
    model.ask_in_vain("r9")
    model.count()
    return model.history


lives = st.builds(
    Life,
    end=st.sampled_from(ENDS),
    before=st.lists(st.sampled_from(BEFORE), max_size=4).map(tuple),
    submits=st.integers(1, 4),
    chunks=st.integers(0, 3),
    resends=st.integers(0, 2),
    zombies=st.booleans(),
    watches=st.integers(0, 2),
    late_cancel=st.booleans(),
)


@given(st.lists(lives, min_size=1, max_size=6), st.booleans())
@example([Life(before=("LOST", "LOST", "LOST", "LOST"))], False)  # the third is the last
@settings(max_examples=60, deadline=None)
def test_what_a_correct_mesh_does_breaks_no_rule(lived: list[Life], vain: bool) -> None:
    model = Model()
    for life in lived:
        model.live(life)
    if vain:
        model.ask_in_vain("unknown")
    model.count()
    assert check(model.history) == [], report(model.history)


# --- changes to a history -------------------------------------------------------------------------


def change(history: History, kind: str, contract_id: str, which: int = 0, **values: Any) -> None:
    """Changes one record of a kind, the `which`th of a contract."""
    records = getattr(history, kind)
    found = [at for at, each in enumerate(records) if each.contract_id == contract_id]
    records[found[which]] = replace(records[found[which]], **values)


def drop(history: History, kind: str, contract_id: str, which: int = 0) -> None:
    """Drops one record of a kind."""
    records = getattr(history, kind)
    found = [at for at, each in enumerate(records) if each.contract_id == contract_id]
    del records[found[which]]


def again(history: History, kind: str, contract_id: str, which: int = 0, **values: Any) -> None:
    """Adds a record like one that is there."""
    records = getattr(history, kind)
    found = [each for each in records if each.contract_id == contract_id]
    records.append(replace(found[which], **values))


def attempts(history: History, contract_id: str, which: int, **values: Any) -> None:
    """Changes an attempt of a contract, as it was shown."""
    shown = next(each for each in history.shown if each.contract_id == contract_id)
    shown.attempts[which] = replace(shown.attempts[which], **values)


def in_all_answers(history: History, contract_id: str, **values: Any) -> None:
    """Changes a contract's response on every channel."""
    for at, each in enumerate(history.answers):
        if each.contract_id == contract_id:
            history.answers[at] = replace(each, **values)


def changes(history: History, contract_id: str, which: int, **values: Any) -> None:
    """Changes an event in the three watches that see it."""
    events = 4
    for watch in range(3):
        change(history, "changes", contract_id, watch * events + which, **values)


def other_chunks(history: History) -> None:
    """A report, and its resend, count fewer chunks than are in the response."""
    for which in range(2):
        change(history, "reported", SIMPLE, which, chunks=2)


def first(history: History, contract_id: str) -> r.Execution:
    return next(each for each in history.executions if each.contract_id == contract_id)


def crowded(history: History) -> None:
    """A bystander is given to the host in which a contract runs that has lost two agents."""
    third = [each for each in history.assigned if each.contract_id == BURIED][-1]
    bystander = replace(third, contract_id=FAILING, epoch=1, at=third.at + 0.001)
    history.assigned.append(bystander)


def never_settled(history: History) -> None:
    """A host falls silent, and its lease stays where it is until the very end."""
    for name in ("reported", "verdicts", "changes", "released"):
        records = getattr(history, name)
        records[:] = [each for each in records if each.contract_id != SIMPLE]
    attempts(history, SIMPLE, 0, end_time=0.0)
    in_all_answers(history, SIMPLE, at=100.0)


def of_an_older_session(history: History) -> None:
    """A host has a newer session, and a report on the older one is taken."""
    welcomed = history.welcomed[0]
    later = replace(welcomed, session="s-new", session_epoch=2, at=welcomed.at + 0.001)
    history.welcomed.append(later)


Breaching = Callable[[History], object]

BREACHES: dict[str, tuple[str, Breaching]] = {
    "a channel has no response": ("S1", lambda h: drop(h, "answers", SIMPLE)),
    "nobody asked": ("S1", lambda h: h.acknowledgements.append(r.Acknowledgement("r8", "c8"))),
    "it is in no list": ("S1", lambda h: drop(h, "listings", SIMPLE)),
    "it ended long after its deadline": (
        "S1",
        lambda h: in_all_answers(h, EXPIRED, end_time=h.shown[4].deadline + 2, state="CANCELLED"),
    ),
    "channels differ": ("S2", lambda h: change(h, "answers", SIMPLE, digest="another")),
    "an older epoch answers": (
        "S3",
        lambda h: in_all_answers(h, LOST, epoch=h.shown[1].attempts[0].epoch),
    ),
    "a stale report was accepted": (
        "S4",
        lambda h: change(h, "verdicts", LOST, 1, verdict="ACCEPTED"),
    ),
    "a report of no committed epoch was accepted": (
        "S4",
        lambda h: again(h, "verdicts", LOST, 1, epoch=7),
    ),
    "a report on an older session was accepted": ("S4", of_an_older_session),
    "a fenced report is not counted": ("S4", lambda h: h.counted[0].counts.update(fenced=0.0)),
    "a lease outlives its session": ("S4", never_settled),
    "epochs go back": ("S5", lambda h: attempts(h, LOST, 0, epoch=1 << 40)),
    "an epoch comes twice": (
        "S5",
        lambda h: attempts(h, LOST, 0, epoch=h.shown[1].attempts[1].epoch),
    ),
    "an attempt runs twice": ("S5", lambda h: again(h, "executions", SIMPLE, nonce="n9")),
    "an epoch is given to two hosts": (
        "S5",
        lambda h: again(h, "assigned", SIMPLE, host=first(h, LOST).host),
    ),
    "two leases are alive at once": ("S5", lambda h: attempts(h, LOST, 0, end_time=1e10)),
    "nobody made the output": ("S6", lambda h: drop(h, "executions", SIMPLE)),
    "the output is another contract's": (
        "S6",
        lambda h: in_all_answers(h, SIMPLE, nonce=first(h, LOST).nonce),
    ),
    "the output is another attempt's": (
        "S6",
        lambda h: in_all_answers(h, LOST, nonce=first(h, LOST).nonce),
    ),
    "the output has no nonce": ("S6", lambda h: in_all_answers(h, SIMPLE, nonce="")),
    "two executions have one nonce": (
        "S6",
        lambda h: change(h, "executions", LOST, nonce=first(h, SIMPLE).nonce),
    ),
    "nobody submitted it": ("S6", lambda h: h.listings.append(r.Listing("c8", "r8", ""))),
    "one request, two contracts": (
        "S7",
        lambda h: h.acknowledgements.append(r.Acknowledgement("r1", LOST)),
    ),
    "the same body is refused": (
        "S7",
        lambda h: h.refusals.append(r.Refusal("r1", "body of r1", r.REUSED)),
    ),
    "an answer names another request": (
        "S7",
        lambda h: in_all_answers(h, SIMPLE, request_id="r2"),
    ),
    "another body is accepted": (
        "S7",
        lambda h: h.acknowledgements.append(replace(h.acknowledgements[0], body="another")),
    ),
    "a resend is accepted again": (
        "S8",
        lambda h: change(h, "verdicts", SIMPLE, 1, verdict="ACCEPTED"),
    ),
    "a resend is fenced": ("S8", lambda h: change(h, "verdicts", SIMPLE, 1, verdict="FENCED")),
    "an event is missing": ("S9", lambda h: drop(h, "changes", SIMPLE, 1)),
    "an end was not seen": ("S9", lambda h: drop(h, "changes", LATE_CANCEL, 3)),
    "it ended twice": (
        "S9",
        lambda h: again(h, "changes", SIMPLE, 3, sequence=5),
    ),
    "a number means two events": ("S9", lambda h: change(h, "changes", SIMPLE, 1, epoch=77)),
    "an event is of an attempt that was never committed": (
        "S9",
        lambda h: changes(h, SIMPLE, 1, epoch=77),
    ),
    "the end that was seen is not the record's": (
        "S9",
        lambda h: changes(h, SIMPLE, 3, state="EXPIRED"),
    ),
    "a chunk was not seen": ("S10", lambda h: drop(h, "items_seen", SIMPLE, 1)),
    "the last chunk was not seen": ("S10", lambda h: drop(h, "items_seen", SIMPLE, 2)),
    "a chunk came twice": ("S10", lambda h: again(h, "items_seen", SIMPLE, 2)),
    "a chunk is not what was sent": (
        "S10",
        lambda h: change(h, "items_seen", SIMPLE, digest="another"),
    ),
    "a superseded attempt speaks again": (
        "S10",
        lambda h: again(h, "items_seen", SIMPLE, epoch=1, watch="c1-1"),
    ),
    "the report counts other chunks": ("S10", other_chunks),
    "a cancel that was OK did not hold": (
        "S11",
        lambda h: change(h, "cancellations", LATE_CANCEL, outcome="OK"),
    ),
    "a cancel that was refused did hold": (
        "S11",
        lambda h: change(h, "cancellations", CANCELLED, outcome="CONTRACT_ENDED"),
    ),
    "it was assigned past its deadline": (
        "S12",
        lambda h: change(h, "assigned", SIMPLE, at=25.0),
    ),
    "it was leased past its deadline": ("S12", lambda h: attempts(h, SIMPLE, 0, lease_time=2e9)),
    "it expired too late": (
        "S12",
        lambda h: in_all_answers(h, EXPIRED, end_time=h.shown[4].deadline + 1.2),
    ),
    "it failed too often": (
        "S13",
        lambda h: h.shown[6].attempts.extend(5 * [replace(h.shown[6].attempts[0], end_time=0.0)]),
    ),
    "it was buried too early": ("S13", lambda h: attempts(h, BURIED, 0, started=False)),
    "it was not buried": ("S13", lambda h: change(h, "shown", BURIED, state="SUCCEEDED")),
    "an attempt does not say why it ended": ("S13", lambda h: attempts(h, BURIED, 0, code="")),
    "a bystander shares the host of a poison task": ("S13", crowded),
    "an agent of another tenant got it": (
        "S14",
        lambda h: h.offered.append(replace(h.offered[0], tenant="another")),
    ),
    "an agent got what it does not offer": (
        "S14",
        lambda h: change(h, "assigned", SIMPLE, capability="secret"),
    ),
    "a state is miscounted": ("S15", lambda h: h.counted[0].counts.update(SUCCEEDED=1.0)),
    "something is still open": ("S15", lambda h: h.counted[0].counts.update(RUNNING=1.0)),
    "more were accepted than are there": (
        "S15",
        lambda h: h.counted[0].counts.update(accepted=8.0),
    ),
    "a call took too long": (
        "S16",
        lambda h: h.calls_ended.__setitem__(0, replace(h.calls_ended[0], at=5.0)),
    ),
    "a call hangs": ("S16", lambda h: h.calls_ended.pop(0)),
    "it ran twice without a fault": (
        "S17",
        lambda h: h.settings.append(r.Setting(r.FAULTLESS, 1.0)),  # a lost agent is a fault
    ),
    "an agent got more than it takes": (
        "Window",
        lambda h: change(h, "assigned", SIMPLE, active=3),
    ),
}


@pytest.mark.parametrize(("rule", "breach"), BREACHES.values(), ids=BREACHES)
def test_the_breach_is_found(rule: str, breach: Breaching) -> None:
    history = kept()
    assert violations(history) == []
    breach(history)
    assert rule in {each.rule for each in check(history)}, report(history)


# --- what may be, and is no breach ----------------------------------------------------------------


def test_an_unknown_submit_may_have_made_a_contract() -> None:
    history = kept()
    history.listings.append(r.Listing("c9", "r9", ""))
    history.counted.clear()
    assert violations(history) == []


def test_an_unknown_cancel_may_have_been_too_late_or_not() -> None:
    history = kept()
    history.cancellations += [r.Cancellation(c, r.UNKNOWN) for c in (CANCELLED, LATE_CANCEL)]
    assert violations(history) == []


def test_an_epoch_that_was_never_committed_may_have_run() -> None:
    history = kept()
    history.executions.append(r.Execution(SIMPLE, 1 << 50, "n9", "h"))
    assert violations(history) == []


def test_a_contract_may_end_late_while_its_owner_is_away_and_within_a_second_of_its_return() -> (
    None
):
    late = {name: BREACHES[name][1] for name in ("it expired too late",)}
    for breach in late.values():
        history = kept()
        breach(history)
        deadline = history.shown[4].deadline - WALL
        history.faults += healed("owner killed", deadline - 3, deadline + 0.5, r.OWNER)
        assert violations(history) == []
        history.faults[:] = healed("owner killed", deadline - 3, deadline + 0.1, r.OWNER)
        assert [each.rule for each in check(history)] == ["S12"]


def test_a_call_whose_client_died_does_not_hang() -> None:
    history = kept()
    history.calls_started.append(r.CallStarted(9999, "Submit", 2.0, at=50.0, by="another"))
    assert violations(history) == []
