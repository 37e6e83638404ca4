"""What columns have to do with each other: correlations, and differences between groups.

Chance is judged by permutation: groups are shuffled, always in the same way, and counted is how
often they explain as much as the real ones. That assumes nothing about how values are distributed.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from muster.workflows.analysis.shapes import Column, Comparison, Correlation, Group

ROWS_MIN: Final = 10
GROUP_ROWS_MIN: Final = 5
SHUFFLES: Final = 999
SHUFFLED_MAX: Final = 10_000_000  # values for one comparison, about 1 s; 999 shuffles of 10,000
SEED: Final = 1
NUMBERS_MAX: Final = 40  # columns; 780 pairs
Z_95: Final = 1.959964


def columns_of(frame: pd.DataFrame, columns: Sequence[Column], kind: str) -> list[str]:
    """The columns of a kind that differ enough to be compared."""
    return [
        column.name
        for column in columns
        if column.kind == kind and frame[column.name].nunique() > 1
    ][:NUMBERS_MAX]


def correlations(frame: pd.DataFrame, columns: Sequence[Column], by: str = "") -> list[Correlation]:
    """Every pair of number columns, the strongest first; `by` names a category to look within."""
    names = columns_of(frame, columns, "number")
    found = [
        _correlation(frame, left, right, by)
        for left, right in combinations(names, 2)
        if len(frame[[left, right]].dropna()) >= ROWS_MIN
    ]
    kept = [each for each in found if each is not None]
    return sorted(kept, key=lambda each: (-abs(each.pearson), each.left, each.right))


def _correlation(frame: pd.DataFrame, left: str, right: str, by: str) -> Correlation | None:
    both = frame[[left, right]].dropna()
    pearson = float(both.corr().iloc[0, 1])
    if math.isnan(pearson):
        return None
    low, high = _bounds(pearson, len(both))
    return Correlation(
        left=left,
        right=right,
        rows=len(both),
        pearson=_round(pearson),
        low=_round(low),
        high=_round(high),
        spearman=_round(float(both.corr(method="spearman").iloc[0, 1])),
        by=by,
        within=_within(frame, left, right, by) if by else None,
    )


def _bounds(r: float, rows: int) -> tuple[float, float]:
    """95 % confidence bounds of Pearson's r, by Fisher's z."""
    if rows <= 3 or abs(r) >= 1:
        return r, r
    z, width = math.atanh(r), Z_95 / math.sqrt(rows - 3)
    return math.tanh(z - width), math.tanh(z + width)


def _within(frame: pd.DataFrame, left: str, right: str, by: str) -> float | None:
    """The correlation of what is left when each group's mean is taken away."""
    rows = frame[[left, right, by]].dropna()
    if len(rows) < ROWS_MIN:
        return None
    centred = rows[[left, right]] - rows.groupby(by)[[left, right]].transform("mean")
    r = float(centred.corr().iloc[0, 1])
    return None if math.isnan(r) else _round(r)


def comparisons(
    frame: pd.DataFrame, columns: Sequence[Column], shuffles: int = SHUFFLES
) -> list[Comparison]:
    """Every number by every category, what explains most first."""
    numbers = columns_of(frame, columns, "number")
    found = [
        comparison
        for category in columns_of(frame, columns, "category")
        for number in numbers
        if (comparison := _comparison(frame, category, number, shuffles)) is not None
    ]
    chances = adjusted([each.chance for each in found])
    judged = [
        Comparison(c.category, c.number, c.groups, c.explained, c.chance, _round(chance))
        for c, chance in zip(found, chances, strict=True)
    ]
    return sorted(judged, key=lambda each: (-each.explained, each.category, each.number))


def _comparison(
    frame: pd.DataFrame, category: str, number: str, shuffles: int
) -> Comparison | None:
    rows = frame[[category, number]].dropna()
    sizes = rows[category].value_counts()
    rows = rows[rows[category].isin(sizes[sizes >= GROUP_ROWS_MIN].index)]
    if rows[category].nunique() < 2 or rows[number].nunique() < 2:
        return None
    codes, names = pd.factorize(rows[category], sort=True)
    values = rows[number].to_numpy(dtype=float)
    explained = explained_share(values, codes)
    groups = [_group(str(name), values[codes == index]) for index, name in enumerate(names)]
    chance = _chance(values, codes, explained, shuffles)
    return Comparison(category, number, groups, _round(explained), _round(chance), 1.0)


def _group(name: str, values: Any) -> Group:
    return Group(name, len(values), _round(float(values.mean())), _round(float(values.std(ddof=1))))


def explained_share(values: Any, codes: Any) -> float:
    """Eta squared: the variance between groups by all of it, 0 to 1."""
    centred = values - values.mean()
    sums, sizes = np.bincount(codes, weights=centred), np.bincount(codes)
    return float((sums**2 / sizes).sum() / (centred**2).sum())


def _chance(values: Any, codes: Any, explained: float, shuffles: int) -> float:
    """How often shuffled groups explain as much, the real ones counted in (Phipson, Smyth 2010).

    Large tables are shuffled less often: what little chance there is in them shows all the same.
    """
    shuffles = max(min(shuffles, SHUFFLED_MAX // len(values)), 1)
    shuffled = np.random.default_rng(SEED)
    as_much = sum(
        explained_share(values, shuffled.permutation(codes)) >= explained for _ in range(shuffles)
    )
    return (1 + as_much) / (1 + shuffles)


def adjusted(chances: Sequence[float]) -> list[float]:
    """Chances for as many questions at once, by Benjamini and Hochberg, in the same order."""
    found = [1.0] * len(chances)
    least = 1.0
    order = sorted(range(len(chances)), key=lambda index: chances[index], reverse=True)
    for rank, index in zip(range(len(chances), 0, -1), order, strict=True):
        least = min(least, chances[index] * len(chances) / rank)
        found[index] = least
    return found


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def findings(found: Sequence[Correlation], compared: Sequence[Comparison]) -> Iterator[str]:
    """The most telling results, in words."""
    for each in compared[:3]:
        if each.adjusted <= 0.05 and each.explained >= 0.05:
            yield (
                f"{each.category} explains {each.explained:.0%} of the differences in "
                f"{each.number} (chance {each.adjusted:.2g})."
            )
    for correlation in found[:3]:
        if correlation.low * correlation.high > 0:
            way = "together" if correlation.pearson > 0 else "in opposite directions"
            yield (
                f"{correlation.left} and {correlation.right} go {way} "
                f"(r {correlation.pearson:.2f}, {correlation.low:.2f} to {correlation.high:.2f})."
            )
    for correlation in found:
        within = correlation.within
        if (
            within is not None
            and within * correlation.pearson < 0
            and min(abs(within), abs(correlation.pearson)) >= 0.2
        ):
            yield (
                f"Seen over all, {correlation.left} and {correlation.right} have r "
                f"{correlation.pearson:.2f}; within {correlation.by} it is {within:.2f}, the other "
                "way round."
            )
