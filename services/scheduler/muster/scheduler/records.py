"""What the core keeps in memory of open contracts and their attempts.

Bodies of requests and reports pass through as opaque objects: the core never looks into them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from muster.model.ids import format_id
from muster.model.retry import DEFAULT_RETRY, RetryPolicy
from muster.model.states import ContractState
from muster.scheduler.fleet import AgentSlots


class Now(NamedTuple):
    """One instant on both clocks. Decisions use `mono`; records carry `wall_ms`."""

    mono: float  # seconds, monotonic
    wall_ms: int  # Unix milliseconds


@dataclass(slots=True, eq=False)
class Lease:
    """The right of one agent to run one attempt."""

    epoch: int
    attempt: int
    agent: str
    agent_kind: str
    host: str
    session_id: str  # "" while nobody has claimed it after a restart
    leased_ms: int
    slots: AgentSlots | None  # the window it takes a slot of; None as above
    offered: int = 0  # bytes, while they count against its host's window
    accepted: bool = False
    started_ms: int = 0
    start_recorded: bool = False
    suspended: bool = False
    ran_seconds: float = 0.0  # before the last resumption
    running_since: float = 0.0
    last_item: float = 0.0
    items: int = 0  # highest index of a stream item
    chunks: int = 0  # output chunks seen, contiguous from 0
    log_bytes: int = 0
    queued_ms: int = 0  # since when it could have been leased


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that an attempt has ended with."""

    question_id: str
    epoch: int
    agent: str
    asked_ms: int
    deadline_ms: int  # Unix milliseconds; 0: the contract's own
    deadline: float  # monotonic seconds; infinity: the contract's own
    default: Any  # muster.v1.Payload, taken at the deadline; None: the contract fails then
    body: Any  # muster.v1.Question
    size: int  # bytes of that


class Given(NamedTuple):
    """The answer to a question."""

    question_id: str
    value: Any  # muster.v1.Payload
    principal: str  # empty: the default was taken
    answered_ms: int
    size: int  # bytes of the value


@dataclass(slots=True, eq=False)
class Contract:
    """A request as it was submitted, and once it is accepted, the open contract that it became.

    Times in seconds are 0 where there is no limit. One object for both, because a contract costs
    its making: a second one with the same twenty fields was a tenth of the time to accept it.
    """

    # The request, validated, in plain values.
    tenant: str
    principal: str
    request_id: str
    body_sha256: bytes
    capability: str
    selector: str  # resolved against the catalogue: never empty
    band: int
    share: str  # the fairness key
    deadline_ms: int  # Unix milliseconds
    schedule_to_start: float
    start_to_close: float
    heartbeat: float
    body: Any  # muster.v1.Request
    body_bytes: bytes  # the same, serialized; empty once it is in a row
    size: int = 0  # bytes of that
    retry: RetryPolicy = DEFAULT_RETRY
    conversation: str = ""
    parent_id: int = 0
    parent_epoch: int = 0
    keyed: bool = True  # False for a child that ends with the attempt that made it
    abandoned_on_close: bool = False
    home: int = -1  # the shard it belongs to whatever its scope says, as a part of a run; -1: none

    # What acceptance adds.
    id: int = 0
    name: str = ""  # the id as it stands on the wire
    accepted_ms: int = 0
    queued_ms: int = 0  # since when it can be leased, or could when it was
    deadline: float = 0.0  # monotonic seconds
    parent: Contract | None = None
    root_id: int = 0
    depth: int = 0
    actor: str = ""
    order: int = 0  # of acceptance, in this process; a restart keeps the order of ids

    # What happens to it.
    durable: bool = False  # its acceptance is committed
    state: ContractState = ContractState.QUEUED
    lease: Lease | None = None
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    sequence: int = 1  # of its newest event; acceptance is 1
    start_by: float = 0.0  # monotonic; 0: no limit, or it has been leased before
    ready_at: float = 0.0  # monotonic; 0: in the queue now, unless it is leased
    queue_token: int = 0  # 0: not queued
    timer_bucket: int = 0
    excluded: set[str] | None = None  # agents that failed it
    reported: set[int] | None = None  # epochs that ended with a report
    last_failure: Any = None  # opaque muster.v1.Failure
    children: dict[int, Contract] | None = None
    asked: Asked | None = None  # what it waits for while it is PARKED
    answers: dict[str, Given] | None = None  # to what it has asked, by question
    prefers: str = ""  # the agent that should get it, if that is free: it asked

    @property
    def scope(self) -> tuple[str, str, str]:
        """What makes a resend the same request."""
        return (self.tenant, self.principal, self.request_id)

    @property
    def lane(self) -> tuple[str, str, str]:
        """Which contracts the same agents can serve."""
        return (self.tenant, self.capability, self.selector)

    def identify(self, number: int, accepted_ms: int, now: Now) -> None:
        """Give it its id and its times: it is accepted now, or was before a restart."""
        self.id = number
        self.name = format_id(number)
        self.accepted_ms = self.queued_ms = accepted_ms
        self.deadline = now.mono + (self.deadline_ms - now.wall_ms) / 1000

    @property
    def due_at(self) -> float:
        """The next instant at which something is due, in monotonic seconds."""
        when, lease = self.deadline, self.lease
        if lease is None:
            if self.ready_at:
                when = min(when, self.ready_at)
            if self.start_by:
                when = min(when, self.start_by)
            if self.asked is not None:
                when = min(when, self.asked.deadline)
        elif lease.started_ms and not lease.suspended:
            when = min(when, lease.running_since + self.start_to_close - lease.ran_seconds)
            if self.heartbeat:
                when = min(when, lease.last_item + self.heartbeat)
        return when

    def adopt(self, child: Contract) -> None:
        """Note an open child."""
        if self.children is None:
            self.children = {}
        self.children[child.id] = child

    def open_children(self) -> list[Contract]:
        """Its children that have not ended."""
        return list(self.children.values()) if self.children else []
