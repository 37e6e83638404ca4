"""The score that ranks files: 0 (nothing to see) to 100 (look here first).

    score = Σ over signals:  weight × x / (x + half)

Each signal x counts something; `half` is the x that gives half the weight, so the tenth finding
matters less than the first and no signal can drown the others. The weights add up to 100; a signal
whose part of the audit is missing counts 0. Severity points: high 10, medium 3, low 1, but no more
than 10 for all low findings of one rule: they tend to be one habit, not many faults.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from muster.audit.shapes import Category, FileLint, FileMeasures, Severity

NESTING_FREE: Final = 3
LOW_POINTS_PER_RULE_MAX: Final = 10
POINTS: Final[dict[Severity, int]] = {"high": 10, "medium": 3, "low": 1}


@dataclass(frozen=True, slots=True)
class Signal:
    """`counts` says what x is, in words for the reader of the report."""

    name: str
    weight: int
    half: int
    counts: str


SIGNALS: Final = (
    Signal("complexity", 30, 40, "cyclomatic complexity above 10, summed over functions"),
    Signal("security", 25, 20, "severity points of security findings"),
    Signal("bugs", 15, 20, "severity points of bug-risk findings"),
    Signal("duplication", 15, 80, "lines that stand elsewhere too"),
    Signal("docs", 10, 30, "public definitions without a docstring"),
    Signal("nesting", 5, 3, f"depth of nesting above {NESTING_FREE}"),
)


def signals_of(
    measures: FileMeasures | None, lint: FileLint | None, duplicated_lines: int | None
) -> dict[str, float]:
    """Points per signal, rounded to a tenth; their sum is the score."""
    counted = _counted(measures, lint, duplicated_lines)
    return {
        s.name: round(s.weight * x / (x + s.half), 1) for s in SIGNALS if (x := counted[s.name])
    }


def _counted(
    measures: FileMeasures | None, lint: FileLint | None, duplicated_lines: int | None
) -> dict[str, int]:
    docs = measures["docs"] if measures else None
    return {
        "complexity": lint["complexity"]["excess"] if lint else 0,
        "security": _points(lint, "security"),
        "bugs": _points(lint, "bugs"),
        "duplication": duplicated_lines or 0,
        "docs": docs["public"] - docs["documented"] if docs else 0,
        "nesting": max(measures["nesting_max"] - NESTING_FREE, 0) if measures else 0,
    }


def _points(lint: FileLint | None, category: Category) -> int:
    if lint is None:
        return 0
    found = [f for f in lint["findings"] if f["category"] == category]
    low = Counter(f["rule"] for f in found if f["severity"] == "low")
    grave = sum(POINTS[f["severity"]] for f in found if f["severity"] != "low")
    return grave + sum(min(n * POINTS["low"], LOW_POINTS_PER_RULE_MAX) for n in low.values())
