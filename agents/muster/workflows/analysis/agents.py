"""The agents of the template: loaders, cleaners, profilers, statisticians, reporters.

Tables and pictures travel as blobs. Every step may run twice: it answers the same.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from muster.agent import Agent, Blob, Failed, SyncContext
from muster.workflows.analysis.shapes import (
    Chart,
    Cleaned,
    Column,
    Profile,
    Report,
    Statistics,
    Table,
)
from muster.workflows.files import folder_of, slug_of, write

if TYPE_CHECKING:
    import pandas as pd

# pandas and matplotlib take a second to import: only the worker processes that use them do.

loader = Agent("analysis-loader", kind="analysis-loader")
cleaner = Agent("analysis-cleaner", kind="analysis-cleaner")
profiler = Agent("analysis-profiler", kind="analysis-profiler")
statistician = Agent("analysis-statistician", kind="analysis-statistician")
reporter = Agent("analysis-reporter", kind="analysis-reporter")

CSV = "text/csv"
SVG = "image/svg+xml"
SCATTERS = 2
BOXES = 2


@loader.capability("analysis.load", idempotent=True)
def load(path: str | None = None, name: str | None = None, *, ctx: SyncContext) -> Table:
    """Reads a CSV file; without a path, the measurements of 344 penguins."""
    from muster.workflows.analysis import tables

    try:
        if path is None:
            data, found, origin = tables.penguins(), tables.PENGUINS, tables.PENGUINS_ORIGIN
        else:
            place = Path(path).expanduser()
            data, found, origin = tables.read_file(place), place.stem, place.name
        frame = tables.parse(data)
    except tables.TableError as error:
        raise Failed("TABLE", f"{path or 'the data'}: {error}", permanent=True) from None
    blob = ctx.blobs.put(tables.to_csv(frame), CSV)
    return Table(name or found, origin, len(frame), list(frame.columns), blob)


@cleaner.capability("analysis.clean", idempotent=True)
def clean(
    table: Table, missing: str = "keep", outliers: str = "keep", *, ctx: SyncContext
) -> Cleaned:
    """Gives each column its kind, and says what was done: missing values, duplicates, outliers.

    `missing` is keep, drop or median; `outliers` is keep, clip or drop.
    """
    from muster.workflows.analysis import cleaning, tables

    if missing not in ("keep", "drop", "median") or outliers not in ("keep", "clip", "drop"):
        message = "missing is keep, drop or median, and outliers is keep, clip or drop"
        raise Failed("CLEANING", message, permanent=True)
    raw = tables.parse(ctx.blobs.get(table.data))
    frame, columns, actions = cleaning.clean(raw, missing, outliers)  # type: ignore[arg-type]
    if frame.empty or not columns:
        raise Failed("TABLE", f"nothing is left of {table.name} once it is clean", permanent=True)
    data = ctx.blobs.put(tables.to_csv(frame), CSV)
    return Cleaned(table.name, table.origin, len(frame), columns, actions, data)


@profiler.capability("analysis.profile", idempotent=True)
def profile(table: Cleaned, column: Column, *, ctx: SyncContext) -> Profile:
    """Figures, frequent values and a chart of one column."""
    from muster.workflows.analysis import charts, profiling

    values = _frame(table, ctx)[column.name]
    found = profiling.profile(values, column)
    if column.kind == "number" and found.present:
        svg = charts.histogram(values, column.name)
    elif column.kind == "date" and found.present:
        svg = charts.timeline(values, column.name)
    elif column.kind == "category":
        svg = charts.bars([(each.value, each.count) for each in found.frequent], column.name)
    else:
        return found
    return replace(found, chart=_chart(column.name, "", svg, ctx))


@statistician.capability("analysis.statistics", idempotent=True)
def statistics(table: Cleaned, shuffles: int = 999, *, ctx: SyncContext) -> Statistics:
    """Correlations of numbers and differences between groups, with charts of the strongest."""
    from muster.workflows.analysis import charts, comparing

    frame = _frame(table, ctx)
    compared = comparing.comparisons(frame, table.columns, shuffles)
    ctx.progress(0.5, f"{len(compared)} comparisons of groups")
    by = compared[0].category if compared else ""
    correlated = comparing.correlations(frame, table.columns, by)
    ctx.progress(0.7, f"{len(correlated)} correlations")
    pictures = [
        _chart(
            f"{each.right} by {each.left}",
            f"r {each.pearson:.2f}",
            charts.scatter(frame, each.left, each.right, by),
            ctx,
        )
        for each in correlated[:SCATTERS]
    ]
    pictures += [
        _chart(
            f"{each.number} by {each.category}",
            f"{each.explained:.0%} explained",
            charts.boxes(frame, each.category, each.number),
            ctx,
        )
        for each in compared[:BOXES]
    ]
    return Statistics(correlated, compared, pictures)


@reporter.capability("analysis.report", idempotent=True)
def report(
    table: Cleaned,
    profiles: list[Profile],
    statistics: Statistics,
    out_dir: str,
    *,
    ctx: SyncContext,
) -> Report:
    """Writes the report as a page, with the cleaned table and all figures beside it."""
    from muster.workflows.analysis import comparing, reporting

    folder = folder_of(out_dir)
    pictures = {
        chart.svg.sha256: ctx.blobs.get(chart.svg).decode()
        for chart in reporting.charts_in(profiles, statistics)
    }
    page = reporting.report_page(table, profiles, statistics, pictures)
    data = folder / f"{slug_of(table.name)}.csv"
    write(data, ctx.blobs.get(table.data))
    write(folder / "index.html", page)
    found = list(comparing.findings(statistics.correlations, statistics.comparisons))
    write(folder / "findings.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return Report(str(folder / "index.html"), str(data), found)


def _frame(table: Cleaned, ctx: SyncContext) -> pd.DataFrame:
    from muster.workflows.analysis import tables

    return tables.from_csv(ctx.blobs.get(table.data), table.columns)


def _chart(title: str, note: str, svg: str, ctx: SyncContext) -> Chart:
    blob: Blob = ctx.blobs.put(svg.encode(), SVG)
    return Chart(title, note, blob)
