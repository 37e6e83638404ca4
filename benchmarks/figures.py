"""What a figure is: samples of several rounds, held against what is to be reached. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share (from 0 to 1) of the values lies; `values` is not empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Verdict(Enum):
    """How far a figure came. Ordered from the worst."""

    MISSING = "not measured"
    SHORT = "short"
    REACHED = "reached"
    AIM = "aim"
    TOLD = "no bar"


_ORDER = list(Verdict)


@dataclass(frozen=True)
class Metric:
    """One number of a row. `reach` is good engineering, `aim` takes all of it."""

    name: str
    unit: str  # stands behind the number: "x", " ms", "/s"
    reach: float | None = None  # None for a number that is only told
    aim: float | None = None
    more_is_better: bool = True
    digits: int = 2

    def text(self, value: float) -> str:
        """A value for people."""
        return f"{value:,.{self.digits}f}{self.unit}"

    def bound(self, value: float | None) -> str:
        """What is to be reached, for people."""
        if value is None:
            return ""
        sign = "≥" if self.more_is_better else "≤"
        return f"{sign} {value:,g}{self.unit}"

    def verdict(self, samples: Sequence[float]) -> Verdict:
        """How far the median of the samples comes."""
        if not samples:
            return Verdict.MISSING
        if self.reach is None or self.aim is None:
            return Verdict.TOLD
        if self._holds(statistics.median(samples), self.aim):
            return Verdict.AIM
        return (
            Verdict.REACHED
            if self._holds(statistics.median(samples), self.reach)
            else Verdict.SHORT
        )

    def _holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.more_is_better else value <= bound

    def shortfall(self, samples: Sequence[float]) -> str:
        """How far what was measured is from `reach`: how many times it would have to be better."""
        if self.reach is None or not samples or self.verdict(samples) is not Verdict.SHORT:
            return ""
        value = statistics.median(samples)
        better, worse = max(value, self.reach), min(value, self.reach)
        return f"{better / worse:.2g}x away" if worse > 0 else "away"


@dataclass(frozen=True)
class Row:
    """A row of the table: a figure, what it is measured against, and its numbers."""

    key: str  # names it on the command line
    figure: str
    against: str
    metrics: tuple[Metric, ...]

    def metric(self, name: str) -> Metric:
        """The metric of that name. Raises `KeyError`."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)


@dataclass
class Findings:
    """What was measured of one row."""

    row: Row
    samples: dict[str, list[float]] = field(default_factory=dict)  # by metric, one for each round
    notes: dict[str, list[float | str]] = field(default_factory=dict)  # what stands behind it
    skipped: str = ""  # why there are no samples

    def add(self, metric: str, value: float) -> None:
        """A sample of a metric that the row has."""
        self.samples.setdefault(self.row.metric(metric).name, []).append(value)

    def note(self, name: str, value: float | str) -> None:
        """Something that explains the samples, told once for each round."""
        self.notes.setdefault(name, []).append(value)

    def verdict(self) -> Verdict:
        """That of the metric that did worst."""
        verdicts = [
            metric.verdict(self.samples.get(metric.name, ())) for metric in self.row.metrics
        ]
        return min(verdicts, key=_ORDER.index)

    def verdict_text(self) -> str:
        """For people: what was reached, or how far away it is."""
        if self.skipped:
            return f"skipped: {self.skipped}"
        away = [metric.shortfall(self.samples.get(metric.name, ())) for metric in self.row.metrics]
        told = ", ".join(text for text in away if text)
        return f"{self.verdict().value}: {told}" if told else self.verdict().value


def summary_text(value: Sequence[float | str]) -> str:
    """Notes of several rounds as one text: the median of numbers, or the last word."""
    numbers = [each for each in value if isinstance(each, int | float)]
    if len(numbers) < len(value) or not numbers:
        return str(value[-1]) if value else ""
    middle = statistics.median(numbers)
    return f"{middle:,.0f}" if abs(middle) >= 100 else f"{middle:,.3g}"
