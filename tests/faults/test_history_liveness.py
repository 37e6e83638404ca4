"""The rules of everything going on are checked: L1, L2, L3, and S17 where nothing was disturbed."""

from __future__ import annotations

from dataclasses import replace

from tests.support.history import History, check, violations
from tests.support.history import records as r
from tests.support.history_model import Life, Model, healed, steady


def test_what_is_open_long_after_the_last_fault_has_healed_breaks_l1() -> None:
    model = Model()
    contract_id = model.live(Life(submits=3, before=("LOST",)))
    model.live(Life())
    history = model.history
    history.faults += healed("all hosts killed", 0.1, 0.15)
    history.settings += [r.Setting(r.SLOTS, 10.0), r.Setting(r.WORK_SECONDS, 1.0)]
    assert violations(history) == []
    for kind in ("answers", "changes", "shown"):
        records = getattr(history, kind)
        records[:] = [each for each in records if each.contract_id != contract_id]
    history.opened.append(r.Opened("client", 1, at=120.0, by="client"))
    assert "L1" in {each.rule for each in check(history)}


def test_what_waits_for_a_person_does_not_break_l1() -> None:
    model = Model()
    contract_id = model.live(Life(submits=3, before=("PARKED",)))
    model.live(Life())
    history = model.history
    history.faults += healed("all hosts killed", 0.1, 0.15)
    history.settings += [r.Setting(r.SLOTS, 10.0), r.Setting(r.WORK_SECONDS, 1.0)]
    for kind in ("answers", "shown"):
        records = getattr(history, kind)
        records[:] = [each for each in records if each.contract_id != contract_id]
    until = ("ACCEPTED", "LEASED", "STARTED", "PARKED")
    history.changes[:] = [
        c for c in history.changes if c.type in until or c.contract_id != contract_id
    ]
    history.opened.append(r.Opened("client", 1, at=120.0, by="client"))
    assert "L1" not in {each.rule for each in check(history)}
    history.changes[:] = [each for each in history.changes if each.type != "PARKED"]
    assert "L1" in {each.rule for each in check(history)}


def test_a_part_that_stops_the_others_breaks_l2() -> None:
    history = History()
    steady(history, 0.0, 30.0, 50.0)
    steady(history, 30.0, 60.0, 40.0)
    history.faults += healed("one of two executors frozen", 30.0, 60.0, r.PART)
    assert violations(history) == []
    for each in history.answers:
        if each.at >= 45.0 and int(each.at * 40) % 2:
            each.at += 40.0
    assert [each.rule for each in check(history)] == ["L2"]


def test_leases_that_bounce_under_load_break_l3() -> None:
    model = Model()
    model.live(Life(before=("returned", "vanished")))
    model.history.faults += healed("twice the load", 0.0, 30.0, r.OVERLOAD)
    assert violations(model.history) == []
    model.live(Life(before=("returned", "vanished", "vanished")))
    assert [each.rule for each in check(model.history)] == ["L3"]


def test_without_a_fault_a_contract_is_run_again_only_when_its_agent_failed() -> None:
    model = Model()
    model.live(Life(before=("FAILED", "TIMED_OUT", "returned")))
    model.history.settings.append(r.Setting(r.FAULTLESS, 1.0))
    assert violations(model.history) == []
    once_more = replace(model.history.executions[0], epoch=1 << 50, nonce="n9")
    model.history.executions.append(once_more)
    assert [each.rule for each in check(model.history)] == ["S17"]


def test_a_call_may_take_as_much_longer_as_the_whole_machine_stood_still() -> None:
    model = Model()
    model.live(Life())
    ended = model.history.calls_ended[0]
    model.history.calls_ended[0] = replace(ended, at=ended.at + 3.5)
    assert [each.rule for each in check(model.history)] == ["S16"]
    for fault in healed("stall", ended.at + 0.1, ended.at + 1.1):
        model.history.faults.append(replace(fault, target=r.MACHINE))
    assert violations(model.history) == []
