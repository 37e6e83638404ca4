"""The life of a contract, as a table.

`TRANSITIONS` is the only place where it is written down: the scheduler's core applies it, the tests
walk it and the documentation is checked against it. A pair that is not in the table is an error in
the caller, never something to be guessed at.

The numbers are those of the enums in `proto/muster/v1`, so that the wire needs no translation.
"""

from __future__ import annotations

from enum import IntEnum


class ContractState(IntEnum):
    """Where a contract is. See `muster.v1.ContractState`."""

    QUEUED = 1
    LEASED = 2
    RUNNING = 3
    PARKED = 4
    SUCCEEDED = 5
    FAILED = 6
    CANCELLED = 7
    EXPIRED = 8
    DEAD_LETTERED = 9


class Trigger(IntEnum):
    """What moves a contract from one state to another."""

    LEASE = 1  # an agent was chosen
    START = 2  # the agent started
    SUCCEED = 3  # the agent delivered its output
    FAIL = 4  # the last allowed attempt failed or timed out
    REQUEUE = 5  # the attempt ended without output, and another may follow
    CANCEL = 6  # somebody cancelled it, or its parent ended
    EXPIRE = 7  # its deadline, or its schedule_to_start timeout, passed
    BURY = 8  # the third agent was lost
    PARK = 9  # the agent asked a person
    ANSWER = 10  # the person answered


class Outcome(IntEnum):
    """How an attempt ended. See `muster.v1.AttemptOutcome`."""

    OPEN = 1
    SUCCEEDED = 2
    FAILED = 3
    TIMED_OUT = 4
    LOST = 5
    CANCELLED = 6
    RETURNED = 7
    PARKED = 8


class Author(IntEnum):
    """Who wrote a response. See `muster.v1.ResponseAuthor`."""

    AGENT = 1
    MESH = 2


class EventType(IntEnum):
    """What happened to a contract. See `muster.v1.EventType`."""

    ACCEPTED = 1
    LEASED = 2
    STARTED = 3
    REQUEUED = 4
    PARKED = 5
    ANSWERED = 6
    ENDED = 7


_S = ContractState
_T = Trigger

TRANSITIONS: dict[tuple[ContractState, Trigger], ContractState] = {
    (_S.QUEUED, _T.LEASE): _S.LEASED,
    (_S.QUEUED, _T.CANCEL): _S.CANCELLED,
    (_S.QUEUED, _T.EXPIRE): _S.EXPIRED,
    (_S.LEASED, _T.START): _S.RUNNING,
    # A report that overtakes "started" proves that the attempt ran.
    (_S.LEASED, _T.SUCCEED): _S.SUCCEEDED,
    (_S.LEASED, _T.FAIL): _S.FAILED,
    (_S.LEASED, _T.REQUEUE): _S.QUEUED,
    (_S.LEASED, _T.CANCEL): _S.CANCELLED,
    (_S.LEASED, _T.EXPIRE): _S.EXPIRED,
    (_S.LEASED, _T.PARK): _S.PARKED,
    (_S.RUNNING, _T.SUCCEED): _S.SUCCEEDED,
    (_S.RUNNING, _T.FAIL): _S.FAILED,
    (_S.RUNNING, _T.REQUEUE): _S.QUEUED,
    (_S.RUNNING, _T.CANCEL): _S.CANCELLED,
    (_S.RUNNING, _T.EXPIRE): _S.EXPIRED,
    (_S.RUNNING, _T.BURY): _S.DEAD_LETTERED,
    (_S.RUNNING, _T.PARK): _S.PARKED,
    (_S.PARKED, _T.ANSWER): _S.QUEUED,
    (_S.PARKED, _T.FAIL): _S.FAILED,
    (_S.PARKED, _T.CANCEL): _S.CANCELLED,
    (_S.PARKED, _T.EXPIRE): _S.EXPIRED,
}

TERMINAL = frozenset(
    {_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.EXPIRED, _S.DEAD_LETTERED},
)


class ForbiddenTransition(Exception):
    """A trigger that the state does not know: a defect of the caller."""


def step(state: ContractState, trigger: Trigger) -> ContractState:
    """The state after `trigger`; raises `ForbiddenTransition` where the table has no such pair."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        message = f"a contract that is {state.name} cannot {trigger.name}"
        raise ForbiddenTransition(message) from None
