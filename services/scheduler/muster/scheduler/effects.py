"""What the core wants done, in order.

The shell applies effects in the order given: rows go into the next commit; everything that tells
somebody of a change (`Acknowledge`, `Ended`, events, cancels) waits for that commit; leases of
contracts whose acceptance is durable are sent at once.

A `Change` is also a lifecycle event of its contract, numbered `sequence`, and with `started` set
the one before it is the start of the attempt (`muster.scheduler.events` puts them into words).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from muster.model.states import Author, ContractState, Outcome
from muster.scheduler.records import Asked, Contract, Given, Lease


class Accept(NamedTuple):
    """A new contract."""

    contract: Contract


class Assign(NamedTuple):
    """A new lease."""

    contract: Contract
    lease: Lease
    sequence: int


class RecordStart(NamedTuple):
    """An attempt has been running for a while: its start becomes durable by itself."""

    contract: Contract
    lease: Lease
    sequence: int


class EndAttempt(NamedTuple):
    """An attempt ended, and the contract goes on."""

    contract: Contract
    lease: Lease
    outcome: Outcome
    code: str
    message: str
    failure: Any  # muster.v1.Failure from the agent; None when the mesh says so
    ended_ms: int
    sequence: int
    started: bool
    asked: Asked | None = None  # what it ended with: the contract is parked


class Answered(NamedTuple):
    """A parked contract has got its answer, and goes on."""

    contract: Contract
    asked: Asked
    given: Given
    sequence: int


class End(NamedTuple):
    """A contract ended."""

    contract: Contract
    state: ContractState
    author: Author
    lease: Lease | None  # the attempt that was open
    outcome: Outcome | None  # what became of it
    code: str
    message: str
    report: Any  # muster.v1.Report; None when the mesh is the author
    ended_ms: int
    sequence: int
    started: bool


class Acknowledge(NamedTuple):
    """The answer to a report."""

    session_id: str
    contract_id: int
    epoch: int
    verdict: str  # a name of muster.v1.ReportVerdict without prefix
    reason: str = ""  # of muster.v1.ErrorReason, when REFUSED
    message: str = ""


class LookUpReport(NamedTuple):
    """A report for a contract that is not open: the ledger knows whether it is a resend."""

    session_id: str
    contract_id: int
    epoch: int


class Decide(NamedTuple):
    """The verdict on a lease that a host says it holds."""

    session_id: str
    contract_id: int
    epoch: int
    keep: bool


class Cancel(NamedTuple):
    """A host is to stop an attempt."""

    session_id: str
    contract_id: int
    epoch: int
    code: str


class Detach(NamedTuple):
    """An agent is no longer placed on, because another of its name came."""

    session_id: str
    agent: str


Change = Accept | Assign | RecordStart | EndAttempt | Answered | End

Effect = Change | Acknowledge | LookUpReport | Decide | Cancel | Detach
