"""What a siege has measured, beside what was promised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """How much harm is meant."""

    seconds: float  # that a siege lasts, once everybody is in place
    streams: int  # that nobody reads, of each kind
    connections: int  # with half a handshake
    agents: int  # idle
    sessions: int  # that these agents share
    flood: int  # calls of a flood
    latency_seconds: float  # an honest p99 that is fine whatever it was before
    latency_ratio: float  # of an honest p99 to the one before


# Part of every test run: the machine may have much other work, so that latencies say little, and
# only that every honest contract succeeds counts. The long form judges latencies.
SHORT = Size(
    seconds=1.5,
    streams=4,
    connections=1_000,
    agents=10_000,
    sessions=20,
    flood=3_000,
    latency_seconds=40.0,
    latency_ratio=40.0,
)
# For a machine with nothing else to do.
LONG = Size(
    seconds=10.0,
    streams=20,
    connections=1_000,
    agents=10_000,
    sessions=10_000,
    flood=50_000,
    latency_seconds=0.1,
    latency_ratio=1.5,
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value and the most that it may be."""

    name: str
    measured: float
    bar: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the bar holds."""
        return self.measured <= self.bar

    def __str__(self) -> str:
        verdict = "" if self.met else "  MISSED"
        return f"{self.name}: {self.measured:.4g} {self.unit} (≤ {self.bar:.4g}){verdict}"
