"""The report as one page, whole in itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from muster.workflows.analysis.comparing import findings
from muster.workflows.analysis.shapes import Chart, Cleaned, Profile, Statistics
from muster.workflows.pages import render

CORRELATIONS_SHOWN: Final = 15
COMPARISONS_SHOWN: Final = 12
MATRIX_MAX: Final = 14


def report_page(
    table: Cleaned,
    profiles: Sequence[Profile],
    statistics: Statistics,
    pictures: Mapping[str, str],
) -> str:
    """The page. `pictures` are the charts' SVG, by the digests of their blobs."""
    cells = table.rows * len(profiles)
    missing = sum(profile.missing for profile in profiles)
    return render(
        "analysis/report.html",
        table=table,
        profiles=profiles,
        statistics=statistics,
        picture=lambda chart: pictures[chart.svg.sha256] if chart else "",
        findings=list(findings(statistics.correlations, statistics.comparisons)),
        missing=missing / cells if cells else 0.0,
        matrix=matrix(statistics),
        correlations=statistics.correlations[:CORRELATIONS_SHOWN],
        comparisons=statistics.comparisons[:COMPARISONS_SHOWN],
        kinds=_kinds(profiles),
    )


def _kinds(profiles: Sequence[Profile]) -> list[tuple[str, int]]:
    kinds = Counter(profile.kind for profile in profiles)
    return sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))


def matrix(statistics: Statistics) -> dict[str, Any]:
    """Every pair's r as a square, for a table; empty where fewer than two columns are numbers."""
    names: list[str] = []
    for each in statistics.correlations:
        names += [name for name in (each.left, each.right) if name not in names]
    names = sorted(names[:MATRIX_MAX])
    by_pair = {frozenset((each.left, each.right)): each.pearson for each in statistics.correlations}
    rows = [
        [1.0 if left == right else by_pair.get(frozenset((left, right))) for right in names]
        for left in names
    ]
    return {"names": names, "rows": list(zip(names, rows, strict=True))}


def charts_in(profiles: Sequence[Profile], statistics: Statistics) -> list[Chart]:
    """Every chart of a report."""
    return [profile.chart for profile in profiles if profile.chart] + statistics.charts
