"""What hosts and their agents write down; the rest, and what all kinds have, is in `records`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Record:
    """What all kinds have."""

    at: float = field(default=0.0, kw_only=True)
    wall: float = field(default=0.0, kw_only=True)
    by: str = field(default="", kw_only=True)


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
    """The host gave the attempt's slot back: "stopped", "returned", "suspended", or "gone" where it
    ended without a session, which the next one's hello shows."""

    contract_id: str
    epoch: int
    session: str
    how: str
