"""The table for people, and the same for programs. Pure, but for the printing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Findings, Metric, Verdict, summary_text

FORMAT = 1
STYLES = {
    Verdict.AIM: "green",
    Verdict.REACHED: "green",
    Verdict.SHORT: "red",
    Verdict.MISSING: "yellow",
    Verdict.TOLD: "default",
}


def measured_text(metric: Metric, samples: list[float]) -> str:
    """The median, and the range where there were several rounds."""
    if not samples:
        return "–"
    text = metric.text(statistics.median(samples))
    if len(samples) > 1:
        low, high = (f"{value:,.{metric.digits}f}" for value in (min(samples), max(samples)))
        text += f" ({low}–{high})"
    return text


def cells(findings: Findings) -> list[str]:
    """Figure, measured, reach, aim, verdict of one row; a line for each metric."""
    several = len(findings.row.metrics) > 1
    measured, reach, aim = [], [], []
    for metric in findings.row.metrics:
        name = f"{metric.name}: " if several else ""
        measured.append(name + measured_text(metric, findings.samples.get(metric.name, [])))
        reach.append(metric.bound(metric.reach))
        aim.append(metric.bound(metric.aim))
    figure = findings.row.figure
    if findings.row.against:
        figure += f"\nagainst {findings.row.against}"
    lines = ["\n".join(column) for column in (measured, reach, aim)]
    return [figure, *lines, findings.verdict_text()]


def table(all_findings: Iterable[Findings]) -> Table:
    """The rows with their verdicts."""
    made = Table(show_lines=True)
    for heading in ("figure", "measured: median (range)", "reach", "aim", "verdict"):
        made.add_column(heading, overflow="fold")
    for findings in all_findings:
        *texts, verdict = cells(findings)
        made.add_row(*texts, f"[{STYLES[findings.verdict()]}]{verdict}[/]")
    return made


def markdown(all_findings: Iterable[Findings]) -> str:
    """The same table as it stands in benchmarks/README.md."""
    lines = [
        "| figure | measured: median (range) | reach | aim | verdict |",
        "|---|---|---|---|---|",
    ]
    for findings in all_findings:
        texts = (text.replace("\n", "<br>") for text in cells(findings))
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def behind(all_findings: Iterable[Findings]) -> Table:
    """What stands behind the figures: medians over the rounds."""
    made = Table(show_header=False, box=None, padding=(0, 1))
    for findings in all_findings:
        for number, (name, values) in enumerate(findings.notes.items()):
            made.add_row(findings.row.key if number == 0 else "", name, summary_text(values))
    return made


def as_json(machine: dict[str, str], settings: dict[str, Any], rows: list[Findings]) -> Any:
    """Everything, for programs."""
    return {
        "muster_bench": FORMAT,
        "machine": machine,
        "settings": settings,
        "rows": [_row_json(findings) for findings in rows],
    }


def _row_json(findings: Findings) -> dict[str, Any]:
    return {
        "key": findings.row.key,
        "figure": findings.row.figure,
        "against": findings.row.against,
        "verdict": findings.verdict().value,
        "skipped": findings.skipped,
        "metrics": [
            _metric_json(metric, findings.samples.get(metric.name, []))
            for metric in findings.row.metrics
        ],
        "notes": findings.notes,
    }


def _metric_json(metric: Metric, samples: list[float]) -> dict[str, Any]:
    return {
        "name": metric.name,
        "unit": metric.unit.strip(),
        "more_is_better": metric.more_is_better,
        "reach": metric.reach,
        "aim": metric.aim,
        "samples": samples,
        "median": statistics.median(samples) if samples else None,
        "verdict": metric.verdict(samples).value,
    }


def show(machine: dict[str, str], rows: list[Findings], console: Console) -> None:
    """Prints machine, table, and what stands behind it."""
    for name, value in machine.items():
        console.print(f"{name}: {value}", highlight=False, markup=False)
    console.print(table(rows))
    console.print(behind(rows))
