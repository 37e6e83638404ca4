"""What the scheduler writes into a ledger and reads back, in plain values.

One `Batch` is one transaction. It is a list of segments; within a segment rows are written kind by
kind, in the order of `Segment`'s fields, so that a database can take each kind in one statement. A
lease that follows the ending of an earlier attempt of the same contract, or the answer to what that
attempt asked, needs it to be there, so it opens a new segment.

Rows are plain lists in column order: they are made once per contract on the hot path, and drivers
take them as they are. Times are Unix milliseconds; 0 stands for "none".
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from muster.model.records import Action, Records, record
from muster.model.states import Author, ContractState, EventType, Outcome

Row = list[Any]

CONTRACT_COLUMNS = (
    "id",
    "tenant",
    "principal",
    "request_id",
    "body_sha256",
    "capability",
    "conversation",
    "parent_id",
    "root_id",
    "depth",
    "actor",
    "accepted_ms",
    "deadline_ms",
    "request",  # serialized muster.v1.Request, as it was submitted
    # The first lease, when the contract could be placed at once; otherwise 0 and empty.
    "epoch",
    "agent",
    "agent_kind",
    "host",
)
CONTRACT_REQUEST_ID = CONTRACT_COLUMNS.index("request_id")
CONTRACT_BODY = CONTRACT_COLUMNS.index("body_sha256")
CONTRACT_EPOCH = CONTRACT_COLUMNS.index("epoch")

LEASE_COLUMNS = ("contract_id", "epoch", "agent", "agent_kind", "host", "leased_ms")
START_COLUMNS = ("contract_id", "epoch", "started_ms")
ITEM_COLUMNS = ("contract_id", "epoch", "idx", "kind", "item")
ENDING_COLUMNS = (
    "contract_id",
    "epoch",
    "outcome",
    "started_ms",
    "ended_ms",
    "code",
    "failure",  # serialized muster.v1.Failure
)
RESPONSE_COLUMNS = (
    "contract_id",
    "epoch",  # of the attempt that was open; 0 when there was none
    "state",
    "author",
    "outcome",  # of that attempt; 0 when there was none
    "started_ms",
    "ended_ms",
    "code",
    "response",  # serialized muster.v1.Response
)
QUESTION_COLUMNS = (
    "subject_id",  # the contract or workflow run that asks
    "question_id",
    "tenant",
    "epoch",  # of the attempt that asked, and ended with PARKED; 0 for a run
    "asked_ms",
    "deadline_ms",  # 0: the subject's own
    "workflow",
    "step",
    "question",  # serialized muster.v1.Question
)
ANSWER_COLUMNS = (
    "subject_id",
    "question_id",
    "closing",
    "answered_ms",
    "answer",  # serialized muster.v1.Answer; empty where there is none
)

ITEM_PROGRESS = 1
ITEM_LOG = 2
ITEM_OUTPUT = 3


class Closing(IntEnum):
    """Why nobody waits for the answer to a question any more. Of a contract that ended instead,
    the question has no such row."""

    ANSWERED = 1  # by a person, or with the default
    TIMED_OUT = 2  # of a run: nobody did, and there was no default
    WITHDRAWN = 3  # of a run: it waits no more


@dataclass(slots=True)
class Segment:
    """Rows of one transaction, written kind by kind in this order."""

    contracts: list[Row] = field(default_factory=list)
    leases: list[Row] = field(default_factory=list)
    starts: list[Row] = field(default_factory=list)
    items: list[Row] = field(default_factory=list)
    endings: list[Row] = field(default_factory=list)
    questions: list[Row] = field(default_factory=list)
    answers: list[Row] = field(default_factory=list)
    responses: list[Row] = field(default_factory=list)
    # Contracts with a row in `endings` or `answers`, without which they get no lease.
    freed: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Batch:
    """One transaction."""

    segments: list[Segment] = field(default_factory=lambda: [Segment()])
    # (contract id, sequence) of every lifecycle event that the transaction makes true, flattened.
    events: array[int] = field(default_factory=lambda: array("Q"))
    # (tenant, name, version, created_ms, serialized muster.v1.Capability)
    capabilities: list[Row] = field(default_factory=list)
    # Rows of everything that is no contract, by table and key.
    records: Records = field(default_factory=dict)
    empty: bool = True
    bytes: int = 0  # of requests, responses and items in it

    def record(self, action: Action, table: str, row: Sequence[Any], shard: int) -> None:
        """Have a row of `muster.model.records` written, for the owner of a shard."""
        record(self.records, action, table, row, shard)
        self.empty = False

    def for_lease_of(self, contract_id: int) -> Segment:
        """The segment that a lease of this contract goes to."""
        last = self.segments[-1]
        if contract_id in last.freed:
            last = Segment()
            self.segments.append(last)
        return last


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the database did not take."""

    kind: str  # "contracts", "leases", "endings", "questions", "answers" or "responses"
    row: Row
    existing_id: int = 0  # "contracts": who holds the idempotency scope
    existing_sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What became of a batch."""

    position: int  # of the newest commit with events; never goes back, across restarts either
    refused: Sequence[Refused]
    seconds: float  # how long the commit itself took, fsync included


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """One lease and what became of it."""

    epoch: int
    agent: str
    agent_kind: str
    host: str
    leased_ms: int
    started_ms: int
    outcome: Outcome
    ended_ms: int
    code: str
    failure: bytes


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The one outcome."""

    epoch: int
    state: ContractState
    author: Author
    ended_ms: int
    code: str
    response: bytes


@dataclass(frozen=True, slots=True)
class StoredQuestion:
    """A question, and how it was closed: None while it is open, and for ever where its contract has
    ended instead."""

    subject_id: int
    question_id: str
    tenant: str
    epoch: int
    asked_ms: int
    deadline_ms: int
    workflow: str
    step: str
    question: bytes
    closing: Closing | None = None
    answered_ms: int = 0
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredContract:
    """A contract as the ledger has it. `attempts` is in order of epoch."""

    id: int
    tenant: str
    principal: str
    request_id: str
    body_sha256: bytes
    capability: str
    conversation: str
    parent_id: int
    root_id: int
    depth: int
    actor: str
    accepted_ms: int
    deadline_ms: int
    request: bytes
    attempts: tuple[StoredAttempt, ...]
    response: StoredResponse | None
    questions: tuple[StoredQuestion, ...] = ()  # in order of epoch, as its attempts asked them

    @property
    def open_attempt(self) -> StoredAttempt | None:
        """The attempt that has not ended, if there is one."""
        if self.response is None and self.attempts and self.attempts[-1].outcome is Outcome.OPEN:
            return self.attempts[-1]
        return None

    @property
    def open_question(self) -> StoredQuestion | None:
        """The question that it waits for, if there is one."""
        if self.response is None and self.questions and self.questions[-1].closing is None:
            return self.questions[-1]
        return None

    @property
    def state(self) -> ContractState:
        """Where the contract is, as far as the ledger knows."""
        if self.response is not None:
            return self.response.state
        if self.open_question is not None:
            return ContractState.PARKED
        attempt = self.open_attempt
        if attempt is None:
            return ContractState.QUEUED
        return ContractState.RUNNING if attempt.started_ms else ContractState.LEASED


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """A change of a contract's state; see `muster.v1.Event`."""

    contract_id: int
    tenant: str
    sequence: int
    type: EventType
    state: ContractState
    time_ms: int
    capability: str
    epoch: int
    agent: str
    agent_kind: str
    code: str
    root_id: int
    conversation: str


def events_of(contract: StoredContract) -> list[LifecycleEvent]:
    """Every lifecycle event of a contract, derived from its rows.

    There is no row per event: rows of a contract are only ever added, and in the order in which
    their events follow each other, so the list grows at its end and `sequence`, the position in it
    from 1, never changes.
    """
    events: list[LifecycleEvent] = []

    def add(
        kind: EventType, state: ContractState, ms: int, at: StoredAttempt | None, code: str = ""
    ) -> None:
        epoch, agent, agent_kind = (at.epoch, at.agent, at.agent_kind) if at else (0, "", "")
        events.append(
            LifecycleEvent(
                contract.id,
                contract.tenant,
                len(events) + 1,
                kind,
                state,
                ms,
                contract.capability,
                epoch,
                agent,
                agent_kind,
                code,
                contract.root_id,
                contract.conversation,
            )
        )

    add(EventType.ACCEPTED, ContractState.QUEUED, contract.accepted_ms, None)
    asked = {question.epoch: question for question in contract.questions}
    last: StoredAttempt | None = None
    for attempt in contract.attempts:
        last = attempt
        add(EventType.LEASED, ContractState.LEASED, attempt.leased_ms, attempt)
        if attempt.started_ms:
            add(EventType.STARTED, ContractState.RUNNING, attempt.started_ms, attempt)
        ends_contract = contract.response is not None and contract.response.epoch == attempt.epoch
        question = asked.get(attempt.epoch) if asked else None
        if question is not None:
            add(EventType.PARKED, ContractState.PARKED, attempt.ended_ms, attempt)
            if question.closing is not None:
                add(EventType.ANSWERED, ContractState.QUEUED, question.answered_ms, None)
        elif attempt.outcome is not Outcome.OPEN and not ends_contract:
            add(
                EventType.REQUEUED,
                ContractState.QUEUED,
                attempt.ended_ms,
                attempt,
                attempt.code,
            )
    response = contract.response
    if response is not None:
        ended_by = last if last is not None and last.epoch == response.epoch else None
        add(EventType.ENDED, response.state, response.ended_ms, ended_by, response.code)
    return events


@dataclass(frozen=True, slots=True)
class ContractQuery:
    """Which contracts to list; empty fields do not restrict. Newest first, ids below `before`."""

    tenant: str
    states: frozenset[ContractState] = frozenset()
    capabilities: frozenset[str] = frozenset()
    conversation: str = ""
    root_id: int = 0
    parent_id: int = 0
    agent: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    since_ms: int = 0
    before_ms: int = 0
    before: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """A capability version that was registered at some time."""

    tenant: str
    name: str
    version: str
    revision: int
    created_ms: int
    capability: bytes


class Settled(NamedTuple):
    """All contracts of a shard with ids below `before` have ended, but for those in `open`."""

    before: int
    open: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """What a ledger tells its owner when it opens, or claims shards: about these shards."""

    generation: int  # the largest of `generations`
    last_id: int  # of any shard
    position: int
    catalogue: list[CatalogueRow]
    open_contracts: Iterable[StoredContract]
    output_chunks: dict[tuple[int, int], tuple[int, int]]  # (id, epoch) -> (last item, chunks)
    generations: dict[int, int]  # of each shard that was taken
    open_questions: Sequence[StoredQuestion] = ()  # of workflow runs
