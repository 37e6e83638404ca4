"""What clients, agents, watchers and injectors of faults write down: one dataclass per kind.

Nothing in a record comes from inside the mesh: it is what somebody outside did, or was told. Each
record has three stamps, which the journal puts on it: `at`, the machine's monotonic clock in
seconds, the same for all processes of one machine; `wall`, Unix time in seconds; `by`, the journal
that it stands in, one per process. Times that the mesh itself stated are Unix seconds, 0 for none.

Payloads and responses are kept as digests, so that a long run's history fits into memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Channels on which a response can be seen.
STREAM = "SubmitStream"
SUBMIT = "Submit"
GET = "GetContract"
WAIT = "WaitContract"
WATCH = "WatchContracts"
CANCEL = "CancelContract"

REUSED = "REQUEST_ID_REUSED"
OK = "OK"
UNKNOWN = "UNKNOWN"  # the outcome of a call that may have had its effect, or not

# What a fault takes away; see `Fault`.
OWNER = "owner"
PART = "part"
CLOCK = "clock"
OVERLOAD = "overload"

# Settings that rules read; see `Setting`.
FAULTLESS = "faultless"
SLOTS = "slots"
WORK_SECONDS = "work_seconds"


@dataclass(slots=True)
class Record:
    """What all kinds have."""

    at: float = field(default=0.0, kw_only=True)
    wall: float = field(default=0.0, kw_only=True)
    by: str = field(default="", kw_only=True)


# --- clients --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Submission(Record):
    """A client is about to send a request; `body` stands for everything in it but the id.

    Without an `Acknowledgement` or a `Refusal` after it, its outcome is unknown. `deadline` is
    0 where the request names none.
    """

    request_id: str
    body: str
    capability: str = ""
    deadline: float = 0.0
    tenant: str = "default"
    principal: str = "local"


@dataclass(slots=True)
class Acknowledgement(Record):
    """A Submit of this body that returned OK, or an `accepted` on a stream."""

    request_id: str
    contract_id: str
    tenant: str = "default"
    principal: str = "local"
    body: str = ""


@dataclass(slots=True)
class Unknown(Record):
    """A Submit that ended without saying what became of it."""

    request_id: str
    status: str
    tenant: str = "default"
    principal: str = "local"


@dataclass(slots=True)
class Refusal(Record):
    """A submission that the mesh refused for good; `reason` is that of its ErrorInfo."""

    request_id: str
    body: str
    reason: str
    tenant: str = "default"
    principal: str = "local"


@dataclass(slots=True)
class Cancellation(Record):
    """A CancelContract that has ended: OK, UNKNOWN, or the reason for which it was refused."""

    contract_id: str
    outcome: str


@dataclass(slots=True)
class CallStarted(Record):
    """A call is about to be made; it must end within `timeout` seconds. `call` is unique within
    the journal; `subject` is the request_id or contract id that it is about, if any."""

    call: int
    method: str
    timeout: float
    subject: str = ""


@dataclass(slots=True)
class CallEnded(Record):
    """That call has ended, with this gRPC status."""

    call: int
    status: str


@dataclass(slots=True)
class Question(Record):
    """A contract's response was asked for on a channel, with all the time it could need."""

    channel: str
    contract_id: str


@dataclass(slots=True)
class Answer(Record):
    """A response that came on a channel; made with `answer_of`. `digest` stands for all of it."""

    channel: str
    contract_id: str
    request_id: str
    state: str
    author: str
    epoch: int
    attempt: int
    agent: str
    nonce: str
    code: str
    chunks: int
    accept_time: float
    end_time: float
    digest: str


@dataclass(slots=True)
class Attempt:
    """A try as GetContract lists it; `outcome` and `code` as there, `started` whether it ran."""

    number: int
    epoch: int
    agent: str
    host: str
    outcome: str
    code: str
    started: bool
    lease_time: float
    end_time: float


@dataclass(slots=True)
class Shown(Record):
    """A contract as GetContract shows it, with each attempt that was ever committed.

    `attempts_max` is that of its retry policy; 0 where nobody said.
    """

    contract_id: str
    request_id: str
    tenant: str
    principal: str
    capability: str
    state: str
    parent_id: str
    sequence: int
    accept_time: float
    deadline: float
    end_time: float
    attempts_max: int
    attempts: list[Attempt]


@dataclass(slots=True)
class Listing(Record):
    """A contract as ListContracts shows it; `parent_id` is empty for a root."""

    contract_id: str
    request_id: str
    parent_id: str
    state: str = ""
    tenant: str = "default"


# --- watchers -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Change(Record):
    """A lifecycle event that a watcher got; made with `change_of`.

    `watch` names the watch, which may have been resumed; one that is empty or begins with "all"
    follows every contract from before the first submission, and must miss nothing.
    """

    contract_id: str
    sequence: int
    type: str
    state: str = ""
    epoch: int = 0
    agent: str = ""
    code: str = ""
    time: float = 0.0
    watch: str = "all"


@dataclass(slots=True)
class ItemSeen(Record):
    """A stream item as the watch `watch` of one contract got it, from the contract's beginning.

    `chunk` counts the attempt's output from 0; -1 for progress and logs.
    """

    contract_id: str
    epoch: int
    index: int
    chunk: int
    digest: str
    watch: str


@dataclass(slots=True)
class WatchEnded(Record):
    """The watch `watch` of one contract got its last frame, which held a response."""

    contract_id: str
    watch: str
    state: str
    author: str
    epoch: int
    chunks: int


@dataclass(slots=True)
class Counted(Record):
    """Counts that a service showed when nothing was under way: `source` is "statistics" or
    "metrics", `counts` are by name, for example "succeeded" or "fenced"."""

    source: str
    tenant: str
    counts: dict[str, float]


# --- hosts and agents -----------------------------------------------------------------------------


@dataclass(slots=True)
class Offered(Record):
    """An agent came up that may be given this capability: who it belongs to, and its window."""

    agent: str
    host: str
    capability: str
    window: int
    tenant: str = "default"


@dataclass(slots=True)
class Welcomed(Record):
    """A host's session began; `lease` is for how many seconds its host may be silent."""

    host: str
    session: str
    session_epoch: int
    lease: float = 0.0


@dataclass(slots=True)
class Beat(Record):
    """A heartbeat went out, which named so many leases."""

    session: str
    held: int


@dataclass(slots=True)
class SessionClosed(Record):
    """A host's session ended, for its host at least."""

    host: str
    session: str
    reason: str


@dataclass(slots=True)
class Assigned(Record):
    """An assignment came. `active` is how many attempts the agent then had that were neither
    reported nor given back, cancelled or waiting for children, with this one."""

    contract_id: str
    epoch: int
    attempt: int
    agent: str
    host: str
    session: str
    capability: str
    tenant: str
    deadline: float
    time_left: float
    active: int


@dataclass(slots=True)
class Execution(Record):
    """An agent is about to begin the work; its nonce comes back in the response."""

    contract_id: str
    epoch: int
    nonce: str
    host: str
    agent: str = ""


@dataclass(slots=True)
class ItemSent(Record):
    """A stream item went out; `digest` and `chunk` as in `ItemSeen`."""

    contract_id: str
    epoch: int
    index: int
    chunk: int
    digest: str
    session: str = ""


@dataclass(slots=True)
class Reported(Record):
    """A report went out. `code` is its failure's, empty for success; `digest` stands for it."""

    contract_id: str
    epoch: int
    session: str
    code: str
    permanent: bool
    chunks: int
    nonce: str
    digest: str


@dataclass(slots=True)
class Verdict(Record):
    """What the mesh said to a report: ACCEPTED, ACCEPTED_DUPLICATE, FENCED or REFUSED."""

    contract_id: str
    epoch: int
    session: str
    verdict: str


@dataclass(slots=True)
class Decision(Record):
    """What the mesh said to a lease: KEEP, DROP, PENDING, or CANCEL with the code in `why`."""

    contract_id: str
    epoch: int
    session: str
    decision: str
    why: str = ""


@dataclass(slots=True)
class Released(Record):
    """The host gave the attempt's slot back: "stopped", "returned" or "suspended"."""

    contract_id: str
    epoch: int
    session: str
    how: str


# --- the surroundings -----------------------------------------------------------------------------


@dataclass(slots=True)
class Fault(Record):
    """Something was broken (`healed` false), or is whole again (true).

    `effects` says what rules have to allow for meanwhile: OWNER: contracts may have no running
    owner that can write. PART: a part that is off the path, or of which there are two, so the rest
    must go on. CLOCK: times that the mesh states are off. OVERLOAD: too little processor for all.
    """

    name: str
    healed: bool
    target: str = ""
    effects: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Setting(Record):
    """A fact about the run: FAULTLESS 1 when nothing was disturbed (S17 holds), SLOTS how many
    attempts can run at a time and WORK_SECONDS how long one takes on average (for L1)."""

    name: str
    value: float


@dataclass(slots=True)
class Opened(Record):
    """A process began to write this journal, or another life of it went on with it."""

    role: str
    process: int
