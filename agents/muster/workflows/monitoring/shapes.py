"""What the steps hand to each other; `agents` makes JSON Schemas of it."""

from dataclasses import dataclass, field
from typing import Literal

ChangeKind = Literal["DOWN", "UP", "CODE", "CONTENT", "SLOW", "NEW", "GONE"]


@dataclass(frozen=True, slots=True)
class Target:
    """Something to look at. `content` says whether a change of what it answers is news."""

    url: str
    name: str
    content: bool = True


@dataclass(frozen=True, slots=True)
class Targets:
    """All that a run looks at."""

    targets: list[Target]


@dataclass(frozen=True, slots=True)
class Probe:
    """What was seen of a target.

    `code` is what it answered (an HTTP status, SERVING, OPEN, a number of agents) or why there was
    no answer (REFUSED, TIMEOUT, …), `digest` that of the content or "", `at` Unix seconds.
    """

    url: str
    name: str
    up: bool
    code: str
    digest: str
    latency_ms: float
    at: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is not as it was at the last look."""

    url: str
    name: str
    kind: ChangeKind
    before: str
    after: str
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A look at all targets, and what had changed since the one before it."""

    run: str
    at: float
    probes: list[Probe]
    changes: list[Change]
    down: int = 0
    first: bool = field(default=False)
    """Whether nothing was known before, so that nothing can have changed."""


@dataclass(frozen=True, slots=True)
class Alerted:
    """How many events were published."""

    events: int


@dataclass(frozen=True, slots=True)
class StatusPage:
    """The page that a person opens: `index` is its path."""

    index: str
    looks: int
    up: int
    down: int
