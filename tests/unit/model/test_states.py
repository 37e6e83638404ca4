"""The table of a contract's life, and the enums that the wire shares with it."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any

import pytest

from muster.model.errors import REASONS, Code
from muster.model.states import (
    TERMINAL,
    TRANSITIONS,
    Author,
    ContractState,
    EventType,
    ForbiddenTransition,
    Outcome,
    Trigger,
    step,
)
from muster.v1 import contract_pb2, event_pb2, response_pb2
from muster.v1.error_pb2 import ErrorReason
from tests.sources import ROOT

PAIRS = [(state, trigger) for state in ContractState for trigger in Trigger]


def reachable() -> set[ContractState]:
    """Every state that a contract can come to be in."""
    found, left = {ContractState.QUEUED}, [ContractState.QUEUED]
    while left:
        state = left.pop()
        for (origin, _), target in TRANSITIONS.items():
            if origin is state and target not in found:
                found.add(target)
                left.append(target)
    return found


def test_every_state_and_so_every_transition_is_reachable() -> None:
    assert reachable() == set(ContractState)
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


def test_what_has_ended_stays_so() -> None:
    assert not TERMINAL & {state for state, _ in TRANSITIONS}
    open_states = set(ContractState) - TERMINAL
    assert open_states == {state for state, _ in TRANSITIONS}


def test_every_open_state_can_be_cancelled_and_can_expire() -> None:
    for state in set(ContractState) - TERMINAL:
        assert step(state, Trigger.CANCEL) is ContractState.CANCELLED
        assert step(state, Trigger.EXPIRE) is ContractState.EXPIRED


@pytest.mark.parametrize(
    ("trigger", "target"),
    [
        (Trigger.SUCCEED, ContractState.SUCCEEDED),
        (Trigger.FAIL, ContractState.FAILED),
        (Trigger.CANCEL, ContractState.CANCELLED),
        (Trigger.EXPIRE, ContractState.EXPIRED),
        (Trigger.BURY, ContractState.DEAD_LETTERED),
    ],
)
def test_each_end_has_one_trigger(trigger: Trigger, target: ContractState) -> None:
    assert {t for (_, t), found in TRANSITIONS.items() if found is target} == {trigger}
    assert {found for (_, t), found in TRANSITIONS.items() if t is trigger} == {target}


@pytest.mark.parametrize(("state", "trigger"), PAIRS, ids=lambda each: each.name)
def test_what_is_not_in_the_table_is_an_error(state: ContractState, trigger: Trigger) -> None:
    if (state, trigger) in TRANSITIONS:
        assert step(state, trigger) is TRANSITIONS[state, trigger]
    else:
        with pytest.raises(ForbiddenTransition, match=state.name):
            step(state, trigger)


@pytest.mark.parametrize(
    ("ours", "wire", "prefix"),
    [
        (ContractState, response_pb2.ContractState, "CONTRACT_STATE_"),
        (Outcome, contract_pb2.AttemptOutcome, "ATTEMPT_OUTCOME_"),
        (Author, response_pb2.ResponseAuthor, "RESPONSE_AUTHOR_"),
        (EventType, event_pb2.EventType, "EVENT_TYPE_"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_names_and_numbers_are_those_of_the_wire(
    ours: type[IntEnum], wire: Any, prefix: str
) -> None:
    numbers = {f"{prefix}{each.name}": each.value for each in ours}
    assert numbers | {f"{prefix}UNSPECIFIED": 0} == dict(wire.items())


def test_every_reason_of_the_wire_has_the_code_that_its_comment_names() -> None:
    text = (ROOT / "proto" / "muster" / "v1" / "error.proto").read_text()
    documented = dict(
        reversed(found)
        for found in re.findall(r"(?s)// \[([A-Z_]+)\].*?ERROR_REASON_([A-Z_]+) =", text)
    )
    assert {reason: Code[code] for reason, code in documented.items()} == {
        reason: code for reason, (code, _) in REASONS.items()
    }
    names = {name.removeprefix("ERROR_REASON_") for name, _ in ErrorReason.items()}
    assert names - {"UNSPECIFIED"} == set(REASONS)
