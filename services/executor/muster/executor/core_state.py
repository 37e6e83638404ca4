"""What the executor keeps in memory: sessions, their agents and leases, and what waits to be sent.

Plain records, changed in place by `Core`. Messages pass through as opaque objects: nothing here
looks into one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from muster.model import limits

Key: TypeAlias = tuple[str, int]  # names one attempt: (contract_id, epoch)
Want: TypeAlias = tuple[str, str]  # what a scheduler has contracts for: (tenant, capability)

# A message that passes through, or the key of an attempt where there is no message at hand.
Item: TypeAlias = Any

# States of a lease. ACCEPTED to REPORTED are the numbers of muster.v1.HeldState.
OFFERED: Final = 0  # relayed to the host, which has not said that it has it
ACCEPTED: Final = 1
STARTED: Final = 2
SUSPENDED: Final = 3
REPORTED: Final = 4
CANCELLED: Final = 5  # told to stop; keeps its slot until the host says that it has

# Verdicts on a lease that a hello named: the numbers of muster.v1.LeaseDecision.
KEEP: Final = 1
DROP: Final = 2
PENDING: Final = 3

# Larger than every frame_seq: the assignment has not been written yet.
UNSENT: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Timers:
    """How the executor judges; seconds."""

    # Shorter finds dead hosts sooner, and costs a frame per session and period.
    heartbeat_seconds: float = limits.HEARTBEAT_SECONDS
    # A lease in periods. Fewer gives work to others sooner, also when a host only stutters.
    lease_periods: int = limits.LEASE_PERIODS
    # Least time to accept; 1.5 heartbeat periods when those are longer.
    accept_seconds: float = limits.ACCEPT_SECONDS
    # How long a host with a broken stream may take to come back before others get its work.
    resume_grace_seconds: float = limits.RESUME_GRACE_SECONDS
    # A longer pause between two sweeps was a stall of ours.
    stall_seconds: float = limits.STALL_SECONDS
    # Above it, the heartbeat period is stretched.
    heartbeats_per_second_max: int = limits.HEARTBEATS_PER_SECOND_MAX


class Counts:
    """What has happened since the start of the process."""

    __slots__ = (
        "assignments",
        "events",
        "events_missed",
        "losses",
        "publish_failures",
        "publishes",
        "refusals",
        "reports",
        "returns",
        "sessions_lost",
        "sessions_opened",
    )

    def __init__(self) -> None:
        self.assignments = 0
        self.events = 0
        self.events_missed = 0
        self.losses = 0
        self.publish_failures = 0
        self.publishes = 0
        self.refusals = 0
        self.reports = 0
        self.returns = 0
        self.sessions_lost = 0
        self.sessions_opened = 0


class Agent:
    """An agent on a session, and its window. Outlives its detaching while it holds leases."""

    __slots__ = (
        "active",
        "attached",
        "awaits_result",
        "draining",
        "held",
        "lent",
        "limit",
        "name",
        "opened_ms",
        "queue",
        "reported",
        "result",
        "session",
        "size",
        "spec",
        "suspended",
        "taken_by",
        "window",
    )

    def __init__(self, session: Session, name: str, opened_ms: int) -> None:
        self.session = session
        self.name = name
        self.opened_ms = opened_ms
        self.spec: Item = None
        self.size = 0  # bytes of the spec
        self.window = 0  # max_in_flight
        self.limit = 0  # the window, or 0 while it takes nothing new
        self.active = 0
        self.suspended = 0
        self.held = 0  # leases of any state
        # Slots lent to each of several schedulers; None while one has them all.
        self.lent: dict[str, int] | None = None
        self.attached = False
        self.draining = False
        self.awaits_result = False  # the host has not heard how its attach went
        self.taken_by: Set[str] = frozenset()  # of several schedulers, those that have answered
        self.result: Item = None  # what one of them said
        self.reported = (0, 0)  # active and suspended, as presence last said
        # Assignments not written yet; made when there is one, because most agents are idle.
        self.queue: deque[Lease] | None = None


class Lease:
    """The right of an agent on this session to run one attempt."""

    __slots__ = (
        "agent",
        "assignment",
        "beat",
        "confirmed",
        "item_bytes",
        "items",
        "items_acked",
        "key",
        "link",
        "offered_at",
        "sent_seq",
        "size",
        "slot",
        "state",
    )

    def __init__(
        self, key: Key, agent: Agent, link: LinkOutbox | None, state: int, now: float
    ) -> None:
        self.key = key
        self.agent = agent
        self.link = link  # to the contract's owner; None while that is unknown
        self.state = state
        self.offered_at = now
        self.assignment: Item = None  # until it is written
        self.size = 0
        self.sent_seq = 0  # the frame that carried it; 0 when the host named it itself
        self.beat = 0  # the last heartbeat that named it
        self.slot = True  # whether it counts against the window
        self.confirmed = True  # False while the host waits for a verdict
        self.items_acked = 0
        self.items: deque[tuple[int, int, Item]] | None = None  # unacknowledged: index, size, item
        self.item_bytes = 0


class HostOutbox:
    """What waits to be written to a host, by kind."""

    __slots__ = (
        "attach_results",
        "cancels",
        "count",
        "drains",
        "end",
        "item_acks",
        "late",
        "period",
        "publish_results",
        "refusals",
        "report_acks",
        "ring",
        "verdicts",
        "welcome",
        "woken",
    )

    def __init__(self) -> None:
        self.welcome = True
        self.attach_results: list[Item] = []
        self.verdicts: list[tuple[Key, int]] = []
        self.report_acks: list[Item] = []
        self.item_acks: list[Item] = []
        self.refusals: list[Item] = []
        self.publish_results: list[Item] = []
        self.cancels: list[tuple[Key, str]] = []
        self.ring: deque[Agent] = deque()  # agents with assignments, whose turn it is first
        self.drains: list[tuple[tuple[str, ...], float]] = []
        # A new heartbeat period and lease duration to announce, in seconds.
        self.period: tuple[float, float] | None = None
        self.count = 0  # items, assignments included
        self.woken = False  # the writer has been told that there is something
        self.late = False  # it will be told soon
        self.end: tuple[str, str] | None = None  # reason and message with which to close the stream


class Session:
    """One continuous contact of one host."""

    __slots__ = (
        "accept_seconds",
        "agents",
        "beat",
        "broken_at",
        "caller",
        "contact",
        "counts",
        "deaf_at",
        "deaf_seq",
        "drain_until",
        "draining",
        "epoch",
        "feed",
        "frame_bytes",
        "frame_bytes_max",
        "host",
        "id",
        "in_seq",
        "lease_seconds",
        "leases",
        "leaving",
        "marked",
        "offered",
        "opened_ms",
        "out_seq",
        "outbox",
        "over",
        "parked_bytes",
        "period",
        "principal",
        "publishing",
        "renewed",
        "reports_start",
        "seen_seq",
        "solo",
        "solo_waits",
        "specs_bytes",
        "strange",
        "suspects",
        "tenant",
        "unacked",
        "word_sent",
    )

    def __init__(self, session_id: str, tenant: str, principal: str, host: str) -> None:
        self.id = session_id
        self.tenant = tenant
        self.principal = principal
        self.caller: Item = None  # what the pump knows of the principal
        self.host = host
        self.epoch = 0
        self.opened_ms = 0
        self.reports_start = False
        self.frame_bytes_max = 0
        self.agents: dict[str, Agent] = {}
        self.leases: dict[Key, Lease] = {}
        self.offered: dict[Key, Lease] = {}  # those in state OFFERED, oldest first
        self.unacked: dict[Key, Item] = {}  # reports relayed and not acknowledged
        self.solo: Lease | None = None  # has the host for itself, or will have: then it waits
        self.solo_waits = False
        self.outbox = HostOutbox()
        self.contact = 0.0  # when the last frame came
        self.renewed = 0.0  # when the last heartbeat came
        self.broken_at: float | None = None  # since when it has no stream
        self.period = 0.0
        self.lease_seconds = 0.0
        self.accept_seconds = 0.0
        self.counts = False  # the host numbers its frames
        self.in_seq = 0  # the host's last frame, fully processed
        self.seen_seq = 0  # the last of our frames that the host has fully processed
        self.out_seq = 0  # our last frame
        self.deaf_at: float | None = None  # since when it has not taken what it was sent
        self.deaf_seq = 0  # the frame that shows, once the host has seen it, that it hears again
        self.beat = 0  # heartbeats so far
        self.marked = 0  # of our leases, named by the current heartbeat
        self.strange: set[Key] = set()  # named by the current heartbeat, and not ours
        self.suspects: set[Key] = set()  # the same of the heartbeat before, not yet dropped
        self.word_sent = False  # a final word on a lease went out since the last heartbeat
        self.frame_bytes = 0  # of the host's current frame
        self.specs_bytes = 0  # of its agents
        self.parked_bytes = 0  # of frames that came while a link was down
        self.feed: Item = None  # of events, for hosts whose agents subscribe to any
        self.publishing = 0  # events that the bus has not taken yet
        self.draining = False
        self.leaving = False
        self.drain_until: float | None = None
        self.over = False


class Batch:
    """What waits to be relayed of one session. Where a later word replaces an earlier one, only
    the last is kept: within a frame the order is by kind, so that both must not meet in one."""

    __slots__ = (
        "accepts",
        "agents",
        "bytes",
        "claims",
        "drains",
        "items",
        "losses",
        "reports",
        "returns",
        "starts",
        "stops",
        "suspensions",
    )

    def __init__(self) -> None:
        self.agents: dict[str, Item] = {}  # name -> spec, or None when it was detached
        self.drains: dict[str, None] = {}
        self.claims: list[Lease] = []
        self.accepts: list[Item] = []
        self.starts: list[Item] = []
        self.items: list[Item] = []
        self.suspensions: dict[Key, bool] = {}  # True: waits for children
        self.returns: list[Item] = []  # messages, or (key, reason)
        self.reports: dict[Key, Item] = {}
        self.stops: list[Item] = []
        self.losses: list[Key] = []
        self.bytes = 0  # of what it holds, roughly; never less


@dataclass(slots=True, eq=False)
class LinkOutbox:
    """What waits to be relayed to one scheduler. Empty while its link is down: a new link starts
    from the whole level."""

    name: str
    up: bool = False  # it is being dialled, or stands: what happens is put here
    answered: bool = False  # the scheduler is there
    shards: dict[int, int] = field(default_factory=dict)  # owned by it, with their generations
    sessions: dict[Session, None] = field(default_factory=dict)  # not told of yet
    batches: dict[Session, Batch] = field(default_factory=dict)
    full: deque[tuple[Session, Batch]] = field(default_factory=deque)  # older, each for one frame
    ends: dict[str, str] = field(default_factory=dict)  # session id -> why
    loans: dict[tuple[Session, str], int] = field(default_factory=dict)  # slots, by agent
    backlog: dict[Want, int] = field(default_factory=dict)  # contracts that wait there
    woken: bool = False

    def grow(self, session: Session, size_bytes: int) -> None:
        """A frame of so many bytes is about to be added to what waits of the session."""
        batch = self.batches.get(session)
        if batch is None:
            return
        if batch.bytes + size_bytes > limits.LINK_FRAME_BYTES_MAX:
            self.full.append((session, batch))
            del self.batches[session]
        else:
            batch.bytes += size_bytes

    def drop(self, session: Session) -> None:
        """Forgets what waits of the session."""
        self.batches.pop(session, None)
        if any(other is session for other, _ in self.full):
            self.full = deque(entry for entry in self.full if entry[0] is not session)

    def clear(self) -> None:
        """Forgets everything."""
        self.sessions.clear()
        self.batches.clear()
        self.full.clear()
        self.ends.clear()
        self.loans.clear()
        self.backlog.clear()


class PresenceOutbox:
    """What a registry has not heard yet. Empty while nobody listens: who begins gets the level."""

    __slots__ = ("changed", "gone", "up")

    def __init__(self) -> None:
        self.up = False
        self.changed: dict[Agent, None] = {}
        self.gone: dict[tuple[str, str, str], None] = {}  # tenant, agent, session id

    def close(self) -> None:
        """Nobody listens any more."""
        self.up = False
        self.changed.clear()
        self.gone.clear()
