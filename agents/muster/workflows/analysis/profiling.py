"""What one column holds: figures, frequent values, and a sentence about what to make of it."""

from dataclasses import replace

import pandas as pd

from muster.workflows.analysis.cleaning import fences
from muster.workflows.analysis.shapes import Column, Frequent, Numbers, Profile

FREQUENT_MAX = 8
VALUE_CHARS_MAX = 80


def profile(values: "pd.Series[float]", column: Column) -> Profile:
    """The profile of a column, without its chart."""
    present = values.dropna()
    numbers = _numbers(present) if column.kind == "number" and len(present) else None
    found = Profile(
        column=column.name,
        kind=column.kind,
        present=len(present),
        missing=len(values) - len(present),
        distinct=int(present.nunique()),
        note="",
        numbers=numbers,
        frequent=_frequent(present) if column.kind in ("category", "constant", "text") else [],
        chart=None,
    )
    return replace(found, note=_note(found, present))


def _numbers(present: "pd.Series[float]") -> Numbers:
    low, high = fences(present, 1.5)
    several = len(present) > 2
    return Numbers(
        mean=_short(present.mean()),
        deviation=_short(present.std()) if several else 0.0,
        least=_short(present.min()),
        quarter=_short(present.quantile(0.25)),
        median=_short(present.median()),
        three_quarters=_short(present.quantile(0.75)),
        most=_short(present.max()),
        skew=_short(present.skew()) if several and present.nunique() > 1 else 0.0,
        outliers=int(((present < low) | (present > high)).sum()),
    )


def _short(value: float) -> float:
    """Six significant digits: what is beyond them depends on the machine's arithmetic."""
    return float(f"{value:.6g}")


def _frequent(present: "pd.Series[float]") -> list[Frequent]:
    counts = present.astype(str).value_counts()
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return [Frequent(str(value)[:VALUE_CHARS_MAX], int(n)) for value, n in ordered[:FREQUENT_MAX]]


def _note(found: Profile, present: "pd.Series[float]") -> str:
    if found.kind == "constant":
        return "The same everywhere: it says nothing about differences."
    if found.kind == "identifier":
        return "It names or counts rows, and does not describe them."
    if found.kind == "date" and len(present):
        days = (present.max() - present.min()).days
        return f"From {present.min():%d %B %Y} to {present.max():%d %B %Y}, {days:,} days."
    if found.kind == "text":
        return f"Free text, {found.distinct:,} different."
    if found.numbers is None:
        return f"{found.distinct} different values." if found.present else "Nothing."
    return _shape(found.numbers)


def _shape(numbers: Numbers) -> str:
    lean = "leans to high values" if numbers.skew < 0 else "has a tail of high values"
    text = "Symmetric" if abs(numbers.skew) < 0.5 else f"It {lean} (skew {numbers.skew:.2g})"
    far = f", {numbers.outliers} far from the rest" if numbers.outliers else ""
    return f"{text}{far}."
