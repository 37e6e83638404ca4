"""The benchmark's pure parts: what it makes of samples. Nothing is measured here."""

import io
import json

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.figures import Findings, Metric, Row, Verdict, percentile, summary_text
from benchmarks.profiling import COMMIT, REST, part_of, parts_table
from benchmarks.targets import BY_KEY, ROWS

FASTER = Metric("ratio", "x", reach=5, aim=10)
SOONER = Metric("p99", " ms", reach=30, aim=10, more_is_better=False)


def findings(**samples: list[float]) -> Findings:
    found = Findings(Row("key", "a figure", "a peer", (FASTER, SOONER)))
    for name, values in samples.items():
        for value in values:
            found.add(name, value)
    return found


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([7.0], 0.99) == 7


@pytest.mark.parametrize(
    ("metric", "samples", "verdict"),
    [
        (FASTER, [4.9, 12.0, 4.8], Verdict.SHORT),
        (FASTER, [5.0], Verdict.REACHED),
        (FASTER, [1.0, 10.0, 11.0], Verdict.AIM),
        (SOONER, [31.0], Verdict.SHORT),
        (SOONER, [10.5], Verdict.REACHED),
        (SOONER, [10.0], Verdict.AIM),
        (SOONER, [], Verdict.MISSING),
    ],
)
def test_the_median_decides(metric: Metric, samples: list[float], verdict: Verdict) -> None:
    assert metric.verdict(samples) is verdict


def test_a_row_is_as_good_as_its_worst_metric() -> None:
    assert findings(ratio=[20.0], p99=[20.0]).verdict() is Verdict.REACHED
    assert findings(ratio=[20.0], p99=[60.0]).verdict_text() == "short: 2x away"
    assert findings(ratio=[20.0]).verdict() is Verdict.MISSING


def test_what_was_skipped_says_why() -> None:
    found = findings()
    found.skipped = "redis-server is missing"
    assert "redis-server is missing" in found.verdict_text()


def test_a_metric_that_the_row_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        findings(speed=[1.0])


def test_notes_tell_the_median_of_numbers_and_the_last_of_words() -> None:
    assert summary_text([1.0, 3000.0, 2000.0]) == "2,000"
    assert summary_text(["dbos 1", "dbos 2"]) == "dbos 2"


def test_the_table_names_figures_bounds_and_verdicts() -> None:
    found = findings(ratio=[7.0, 6.0, 8.0], p99=[60.0])
    found.note("contracts/s", 7000.0)
    console = Console(width=140, record=True, file=io.StringIO())
    report.show({"machine": "two cores"}, [found], console)
    text = console.export_text()
    for part in ("two cores", "7.00x (6.00–8.00)", "≥ 10x", "≤ 30 ms", "short: 2x away", "7,000"):
        assert part in text
    assert "| a figure<br>against a peer |" in report.markdown([found])


def test_json_holds_every_sample_and_survives_a_round_trip() -> None:
    found = findings(ratio=[7.0, 6.0], p99=[60.0])
    made = json.loads(json.dumps(report.as_json({"machine": "m"}, {"rounds": 2}, [found])))
    (row,) = made["rows"]
    ratio, p99 = row["metrics"]
    assert (ratio["samples"], ratio["median"], ratio["verdict"]) == ([7.0, 6.0], 6.5, "reached")
    assert (p99["unit"], p99["more_is_better"], row["verdict"]) == ("ms", False, "short")


def test_rows_have_keys_of_their_own_and_aims_beyond_what_is_to_be_reached() -> None:
    assert len(BY_KEY) == len(ROWS)
    for metric in (metric for row in ROWS for metric in row.metrics):
        if metric.reach is None or metric.aim is None:
            assert metric.reach is metric.aim is None  # it is only told
            continue
        assert (metric.aim > metric.reach) is metric.more_is_better, metric


def test_a_sample_belongs_to_the_innermost_part_that_begins_in_it() -> None:
    loop = "run (uvloop/__init__.py:48)"
    writer = "Writer.commit (sqlite/writer.py:60)"
    commit = "Writer._transaction (sqlite/writer.py:90)"
    assert part_of([loop]) == REST
    assert part_of([loop, writer, "inner (sqlite3:1)"]) == "writer: rows"
    assert part_of([loop, writer, commit]) == COMMIT


def test_waiting_for_the_disk_is_told_apart_from_the_cost_of_a_contract() -> None:
    stacks = "a 25\na;Writer._write (w.py:1) 75\na;Writer._transaction (w.py:1) 100\n"
    table = parts_table(stacks, 200.0)
    assert "150.0 µs  75.0%  writer: rows" in table
    assert f"50.0% of all samples: {COMMIT}" in table
