"""The fault table as people and programs read it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.faults.table import BROKEN, FAILED, HELD, SKIPPED, Measure, Outcome

STYLES = {HELD: "green", BROKEN: "bold red", FAILED: "bold red", SKIPPED: "yellow"}
NOTES_SHOWN_MAX = 20  # of one row; the JSON has all


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Prints the table, and below it what was broken and what was left out."""
    table = Table(title="Faults, and what became of the promise", show_lines=True)
    table.add_column("fault", ratio=3)
    table.add_column("measured", ratio=4)
    table.add_column("bar", ratio=2)
    table.add_column("result", no_wrap=True)
    for outcome in outcomes:
        table.add_row(
            outcome.fault,
            Text("\n").join(_figure(measure) for measure in outcome.measures),
            "\n".join(measure.bar or "–" for measure in outcome.measures),
            Text(outcome.result, style=STYLES[outcome.result]),
        )
    console.print(table)
    for outcome in outcomes:
        for note in outcome.notes[:NOTES_SHOWN_MAX]:
            console.print(f"{outcome.row}: {note}", markup=False, style=STYLES[outcome.result])
        if len(outcome.notes) > NOTES_SHOWN_MAX:
            console.print(f"{outcome.row}: and {len(outcome.notes) - NOTES_SHOWN_MAX} more")
    counts = Counter(outcome.result for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    parts = [f"{counts[result]} {result}" for result in STYLES if counts[result]]
    console.print(f"{len(outcomes)} rows in {seconds / 60:.1f} min: {', '.join(parts)}")


def _figure(measure: Measure) -> Text:
    return Text(str(measure), style="red" if measure.held is False else "")


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    """Writes everything down for programs."""
    path.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")


def all_held(outcomes: Sequence[Outcome]) -> bool:
    """Whether no row that ran was broken."""
    return all(outcome.result in (HELD, SKIPPED) for outcome in outcomes)
