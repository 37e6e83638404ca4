"""What the core keeps in memory of open contracts and their attempts.

Bodies of requests and reports pass through as opaque objects: the core never looks into them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from muster.model.retry import DEFAULT_RETRY, RetryPolicy
from muster.model.states import ContractState
from muster.scheduler.fleet import AgentSlots


class Now(NamedTuple):
    """One instant on both clocks. Decisions use `mono`; records carry `wall_ms`."""

    mono: float  # seconds, monotonic
    wall_ms: int  # Unix milliseconds


@dataclass(slots=True)
class Submission:
    """A validated request, in plain values. Times in seconds, 0 where there is no limit."""

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
    body_bytes: bytes
    retry: RetryPolicy = DEFAULT_RETRY
    conversation: str = ""
    parent_id: int = 0
    parent_epoch: int = 0
    keyed: bool = True  # False for a child that ends with the attempt that made it
    abandoned_on_close: bool = False


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


@dataclass(slots=True, eq=False)
class Contract:
    """An open contract."""

    id: int
    tenant: str
    principal: str
    request_id: str
    body_sha256: bytes
    capability: str
    selector: str
    band: int
    share: str
    accepted_ms: int
    deadline_ms: int
    deadline: float  # monotonic seconds
    schedule_to_start: float  # seconds; 0: no limit
    start_to_close: float
    heartbeat: float
    retry: RetryPolicy
    conversation: str
    body: Any
    body_bytes: bytes
    parent: Contract | None
    parent_id: int
    parent_epoch: int
    root_id: int
    depth: int
    actor: str
    keyed: bool
    abandoned_on_close: bool
    order: int = 0  # of acceptance, in this process; a restart keeps the order of ids
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
    children: dict[int, Contract] = field(default_factory=dict)

    @property
    def scope(self) -> tuple[str, str, str]:
        """What makes a resend the same request."""
        return (self.tenant, self.principal, self.request_id)
