"""A row of the fault table: what is done, what it needs, and what is measured against which bar."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.injectors import missing

HELD, BROKEN, SKIPPED, FAILED = "held", "broken", "skipped", "failed"


@dataclass(frozen=True)
class Measure:
    """A figure beside its bar. `held` is None where there is no bar: the figure is for the eye."""

    what: str
    value: float
    unit: str
    bar: str
    held: bool | None

    def __str__(self) -> str:
        digits = 0 if self.value == int(self.value) else 1 if abs(self.value) >= 10 else 2
        unit = self.unit if self.unit in ("", "%", "x") else f" {self.unit}"
        return f"{self.what} {self.value:,.{digits}f}{unit}"


@dataclass
class Outcome:
    """What became of a row. `notes` are violations, or why it failed or was skipped."""

    row: str
    fault: str
    result: str
    seed: int
    measures: list[Measure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Outcome:
        """What another process wrote."""
        values = json.loads(text)
        values["measures"] = [Measure(**each) for each in values["measures"]]
        return cls(**values)


class Trial:
    """One run of a row: takes down what it measures. `folder` is its own."""

    def __init__(self, row: Row, seed: int, folder: Path) -> None:
        self.row = row
        self.seed = seed
        self.folder = folder
        self.measures: list[Measure] = []
        self.notes: list[str] = []
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Shows how far the row is."""
        print(f"    {time.monotonic() - self._began:5.1f} s  {text}", flush=True)  # noqa: T201

    def most(self, what: str, value: float, bar: float, unit: str = "s") -> None:
        """A figure that may be no more than its bar."""
        self._take(Measure(what, value, unit, f"≤ {bar:g}{_of(unit)}", value <= bar))

    def least(self, what: str, value: float, bar: float, unit: str = "") -> None:
        """A figure that may be no less than its bar."""
        self._take(Measure(what, value, unit, f"≥ {bar:g}{_of(unit)}", value >= bar))

    def exactly(self, what: str, value: float, bar: float, unit: str = "") -> None:
        """A figure that must be its bar."""
        self._take(Measure(what, value, unit, f"{bar:g}{_of(unit)}", value == bar))

    def figure(self, what: str, value: float, unit: str = "") -> None:
        """A figure without a bar."""
        self._take(Measure(what, value, unit, "", None))

    def _take(self, measure: Measure) -> None:
        self.measures.append(measure)
        missed = "" if measure.held is not False else "   MISSED"
        self.say(f"{measure}{f'  (bar {measure.bar})' if measure.bar else ''}{missed}")

    def outcome(self, failure: str = "") -> Outcome:
        """What became of it."""
        held = all(measure.held is not False for measure in self.measures)
        result = FAILED if failure else HELD if held and not self.notes else BROKEN
        notes = [*self.notes, *([failure] if failure else [])]
        took = time.monotonic() - self._began
        return Outcome(self.row.name, self.row.fault, result, self.seed, self.measures, notes, took)


def _of(unit: str) -> str:
    return unit if unit in ("", "%", "x") else f" {unit}"


@dataclass(frozen=True)
class Row:
    """A row: `fault` in a person's words; `needs` are tools, or "root".

    `spaces` are the namespaces that it runs in, of "net" and "mount", so that what it changes there
    is gone with it.
    """

    name: str
    fault: str
    run: Callable[[Trial], Awaitable[None]]
    needs: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()
    seconds_max: float = 150.0

    @property
    def obstacle(self) -> str:
        """Why it cannot run here; empty when it can."""
        return "; ".join(filter(None, (missing(need) for need in self.needs)))

    def skipped(self, seed: int) -> Outcome:
        """The outcome of a row that cannot run here."""
        return Outcome(self.name, self.fault, SKIPPED, seed, notes=[self.obstacle])
