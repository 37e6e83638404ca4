"""Gives each column its kind, and says what was done to the table for it.

The order is fixed: blanks, words for nothing, kinds, empty columns and rows, duplicates, rows that
miss most of their values, outliers. Values are only changed where the input asks for it.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

import pandas as pd

from muster.workflows.analysis.shapes import Action, Column, Kind

Missing = Literal["keep", "drop", "median"]
Outliers = Literal["keep", "clip", "drop"]

NOTHING: Final = frozenset(
    ["", ".", "-", "--", "?", "na", "n/a", "nan", "nil", "none", "null", "#n/a"]
)
KIND_SHARE_MIN: Final = 0.98  # of the values present that must fit a kind
CATEGORIES_MAX: Final = 20
CATEGORY_SHARE_MAX: Final = 0.2  # distinct values per row; beyond it, it is text
MISSING_SHARE_MAX: Final = 0.5  # of a row's values that may be missing where rows are dropped
COUNTING_SHARE_MIN: Final = 0.9
FENCE: Final = 3.0  # interquartile ranges: "far out" (Tukey 1977)
_NUMBER: Final = re.compile(r"[-+]?(\d+([.,]\d+)?|\d{1,3}(,\d{3})+(\.\d+)?|\.\d+)([eE][-+]?\d+)?%?")
_DATE_FORMATS: Final = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y")

Result = tuple[pd.DataFrame, list[Column], list[Action]]


def clean(frame: pd.DataFrame, missing: Missing = "keep", outliers: Outliers = "keep") -> Result:
    """The table with values of their kinds, its columns, and what was done.

    `missing`: rows that miss more than half of their values are dropped with "drop"; with "median"
    the numbers that are missing get their column's median. `outliers` beyond the outer fences are
    counted, and with "clip" moved to the fence, with "drop" their rows dropped.
    """
    actions: list[Action] = []
    frame = _without_words_for_nothing(frame, actions)
    frame = _without_duplicates(frame, actions)
    columns = []
    for name in list(frame.columns):
        frame[name], kind = _of_a_kind(frame[name])
        columns.append(Column(name, kind))
        actions += _remarks_on(frame[name], kind)
    kinds = {column.name: column.kind for column in columns}
    dropped = [name for name, kind in kinds.items() if kind == "empty"]
    frame = frame.drop(columns=dropped)
    if missing == "drop":
        frame = _without_incomplete_rows(frame, actions)
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    for name in numbers:
        frame = _without_outliers(frame, name, outliers, actions)
    if missing == "median":
        for name in numbers:
            _fill(frame, name, actions)
    return frame.reset_index(drop=True), [c for c in columns if c.kind != "empty"], actions


def _without_words_for_nothing(frame: pd.DataFrame, actions: list[Action]) -> pd.DataFrame:
    found = frame.apply(lambda values: values.str.strip())
    for name in found.columns:
        lower = found[name].str.lower()
        nothing = lower.isin(NOTHING)
        words = sorted({*lower[nothing]} - {""})
        count = int((nothing & (lower != "")).sum())
        if count:
            text = (
                f"{count} values say {', '.join(f'“{word}”' for word in words)}: taken as missing"
            )
            actions.append(Action("missing", name, count, text))
        found[name] = found[name].mask(nothing, None)
    return found


def _without_duplicates(frame: pd.DataFrame, actions: list[Action]) -> pd.DataFrame:
    empty = int(frame.isna().all(axis=1).sum())
    if empty:
        actions.append(Action("dropped", "", empty, f"{empty} rows without any value dropped"))
        frame = frame.dropna(how="all")
    again = int(frame.duplicated().sum())
    if again:
        actions.append(Action("dropped", "", again, f"{again} rows that repeat others dropped"))
        frame = frame.drop_duplicates()
    return frame.copy()


def _of_a_kind(values: "pd.Series[str]") -> "tuple[pd.Series[str], Kind]":
    present = values.dropna()
    if present.empty:
        return values, "empty"
    distinct = present.nunique()
    if distinct == 1 and len(present) > 1:
        return values, "constant"
    if _share(present.str.fullmatch(_NUMBER.pattern)) >= KIND_SHARE_MIN:
        numbers = pd.to_numeric(values.map(_plain_number, na_action="ignore"), errors="coerce")
        return numbers, "identifier" if _counts_rows(numbers) else "number"
    dates = _dates(values)
    if dates is not None:
        return dates, "date"
    if distinct == len(present) and distinct > CATEGORIES_MAX:
        return values, "identifier" if present.str.len().max() <= 40 else "text"
    few = distinct <= CATEGORIES_MAX and distinct <= max(2, CATEGORY_SHARE_MAX * len(present))
    return values, "category" if few else "text"


def _counts_rows(numbers: "pd.Series[float]") -> bool:
    """Whether each number is the one before it and 1 more, nearly everywhere."""
    steps = numbers.dropna().diff().iloc[1:]
    return len(steps) >= CATEGORIES_MAX and _share(steps == 1) >= COUNTING_SHARE_MIN


def _plain_number(text: str) -> str:
    plain = text.rstrip("%")
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", plain):
        return plain.replace(",", "")
    return plain.replace(",", ".")


def _dates(values: "pd.Series[str]") -> "pd.Series[str] | None":
    for pattern in _DATE_FORMATS:
        found = pd.to_datetime(values, format=pattern, errors="coerce")
        if _share(found[values.notna()].notna()) >= KIND_SHARE_MIN:
            return found
    return None


def _share(fits: "pd.Series[bool]") -> float:
    return float(fits.mean()) if len(fits) else 0.0


def _remarks_on(values: "pd.Series[str]", kind: Kind) -> Iterator[Action]:
    name, missing = str(values.name), int(values.isna().sum())
    if kind == "empty":
        yield Action("dropped", name, len(values), "no values at all: the column is left out")
        return
    if kind == "constant":
        text = f"always “{values.dropna().iloc[0]}”: it can explain nothing"
        yield Action("noted", name, len(values), text)
    if kind in ("number", "date"):
        yield Action("typed", name, len(values) - missing, f"read as {kind}s")
    if missing:
        yield Action("noted", name, missing, f"{missing} of {len(values)} values are missing")


def _without_incomplete_rows(frame: pd.DataFrame, actions: list[Action]) -> pd.DataFrame:
    incomplete = frame.isna().mean(axis=1) > MISSING_SHARE_MAX
    count = int(incomplete.sum())
    if count:
        text = f"{count} rows that miss more than half of their values dropped"
        actions.append(Action("dropped", "", count, text))
    return frame[~incomplete]


def fences(values: "pd.Series[float]", width: float) -> tuple[float, float]:
    """Tukey's fences: so many interquartile ranges below and above the quartiles."""
    low, high = values.quantile(0.25), values.quantile(0.75)
    return float(low - width * (high - low)), float(high + width * (high - low))


def _without_outliers(
    frame: pd.DataFrame, name: str, outliers: Outliers, actions: list[Action]
) -> pd.DataFrame:
    low, high = fences(frame[name], FENCE)
    out = (frame[name] < low) | (frame[name] > high)
    count = int(out.sum())
    if not count or low == high:
        return frame
    done = {"keep": "kept", "clip": "moved to the nearer fence", "drop": "dropped with their rows"}
    text = f"{count} values lie outside {low:.6g} to {high:.6g}: {done[outliers]}"
    actions.append(Action("outliers", name, count, text))
    if outliers == "drop":
        return frame[~out]
    if outliers == "clip":
        frame[name] = frame[name].clip(low, high)
    return frame


def _fill(frame: pd.DataFrame, name: str, actions: list[Action]) -> None:
    count = int(frame[name].isna().sum())
    if count:
        median = frame[name].median()
        frame[name] = frame[name].fillna(median)
        actions.append(
            Action("filled", name, count, f"{count} missing values got the median, {median:.6g}")
        )
