"""A report on any table: what is read, cleaned, measured and shown."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from muster.agent.testing import Bench
from muster.workflows.analysis import agents as analysing
from muster.workflows.analysis import charts, cleaning, comparing, profiling, tables
from muster.workflows.analysis.shapes import Column
from tests.unit.workflows.running import Page, analysis, text_of

MESSY = """Name; Height ;Born;Group;Group;Empty;Always
Ann;1,70;2001-05-06;a;x;;yes
Bob;n/a;2002-05-06;b;x;;yes
Bob;n/a;2002-05-06;b;x;;yes
Eve;1,65;;a;-;;yes

Dan;1,90;2003-01-31;b;y;;yes
"""


def cleaned(text: str, **how: Any) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    frame, columns, actions = cleaning.clean(tables.parse(text.encode()), **how)
    return frame, {column.name: column.kind for column in columns}, [a.text for a in actions]


# --- reading and cleaning -------------------------------------------------------------------------


def test_delimiters_blanks_and_names_are_sorted_out():
    frame = tables.parse(("\ufeff" + MESSY).encode())
    assert list(frame.columns) == [
        "Name", "Height", "Born", "Group", "Group.1", "Empty", "Always"
    ]  # fmt: skip
    assert tables.parse(b"a,,a b \n1,2,3\n").columns.tolist() == ["a", "column 2", "a b"]
    assert tables.parse(b"# about\n# it\na,b\n# 1,2\n").columns.tolist() == ["a", "b"]
    assert tables.parse("name\nJosé\n".encode("cp1252"))["name"][0] == "José"


def test_columns_get_kinds_and_everything_done_is_said():
    frame, kinds, said = cleaned(MESSY)
    assert kinds == {
        "Name": "text",
        "Height": "number",
        "Born": "date",
        "Group": "category",
        "Group.1": "category",
        "Always": "constant",
    }
    assert frame["Height"].dropna().tolist() == [1.70, 1.65, 1.90]
    assert len(frame) == 4
    assert "1 rows that repeat others dropped" in said
    assert "no values at all: the column is left out" in said
    assert any("“n/a”" in text for text in said)
    assert "1 of 4 values are missing" in said


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5", "-3e4", ".5"] * 10, "number"),
        (["1,000", "2,500,000", "3"] * 10, "number"),
        (["12%", "3%"] * 10, "number"),
        ([str(n) for n in range(50)], "identifier"),
        ([f"k{n}" for n in range(50)], "identifier"),
        ([f"a long remark, number {n}, that nobody will ever repeat" for n in range(50)], "text"),
        (["31.12.1999", "1.1.2000"] * 10, "date"),
        (["12/31/1999", "1/1/2000"] * 10, "date"),
        (["red", "blue"] * 10, "category"),
        (["red"] * 10, "constant"),
        (["?", "NA", ""] * 10, "empty"),
    ],
)
def test_each_kind_is_recognised(values: list[str], kind: str):
    text = "id,v\n" + "\n".join(f'r{n % 7}-{n},"{v}"' for n, v in enumerate(values))
    kinds = cleaned(text)[1]
    assert kinds.get("v", "empty") == kind


def test_outliers_and_missing_values_are_only_changed_when_asked():
    values = [str(10 + n % 5) for n in range(40)] + ["500", ""]
    text = "i,v\n" + "\n".join(f"r{n % 9}x{n},{v}" for n, v in enumerate(values))
    kept = cleaned(text)
    assert kept[0]["v"].max() == 500
    assert any("1 values lie outside" in said for said in kept[2])
    assert cleaned(text, outliers="clip")[0]["v"].max() < 30
    assert len(cleaned(text, outliers="drop")[0]) == 41
    assert cleaned(text, missing="median")[0]["v"].isna().sum() == 0
    assert kept[0]["v"].isna().sum() == 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"a,b\n", "no rows"),
        (b'a,b\n"1,2\n3', "no CSV"),
        (b"a\n1,2\n3,4,5\n", "CSV"),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, says: str):
    with pytest.raises(tables.TableError, match=says):
        tables.parse(data)


def test_a_cleaned_table_survives_being_written():
    frame, columns, _ = cleaning.clean(tables.parse(MESSY.encode()))
    again = tables.from_csv(tables.to_csv(frame), columns)
    assert again["Height"].tolist()[0] == 1.70
    assert str(again["Born"].dtype).startswith("datetime64")
    assert tables.to_csv(again) == tables.to_csv(frame)


# --- figures --------------------------------------------------------------------------------------


def test_a_profile_has_the_figures_of_its_column():
    values = pd.Series([1.0, 2.0, 3.0, 4.0, 100.0, None])
    found = profiling.profile(values, Column("v", "number"))
    assert found.numbers is not None
    assert (found.present, found.missing, found.numbers.median) == (5, 1, 3.0)
    assert found.numbers.outliers == 1
    assert "tail of high values" in found.note


def test_correlations_have_bounds_and_reverse_within_groups():
    rng = np.random.default_rng(7)
    left = np.concatenate([rng.normal(0, 1, 60), rng.normal(6, 1, 60)])
    noise = rng.normal(0, 0.3, 120)
    right = np.concatenate([10 + left[:60], left[60:] - 8]) + noise
    frame = pd.DataFrame({"left": left, "right": right, "by": ["a"] * 60 + ["b"] * 60})
    columns = [Column("left", "number"), Column("right", "number"), Column("by", "category")]
    (found,) = comparing.correlations(frame, columns, "by")
    assert found.pearson == pytest.approx(np.corrcoef(left, right)[0, 1], abs=1e-4)
    assert found.low < found.pearson < found.high < 0
    assert found.within is not None
    assert found.within > 0.8
    said = list(comparing.findings([found], []))
    assert any("the other way round" in each for each in said)


def test_groups_explain_what_they_explain():
    assert comparing.explained_share(np.array([1.0, 1, 3, 3]), np.array([0, 0, 1, 1])) == 1.0
    assert comparing.explained_share(np.array([1.0, 3, 1, 3]), np.array([0, 0, 1, 1])) == 0.0


def test_chance_is_small_for_real_groups_and_large_for_none():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, 90)
    groups = np.repeat(["a", "b", "c"], 30)
    frame = pd.DataFrame(
        {"real": noise + np.repeat([0, 3, 6], 30), "none": rng.permutation(noise), "g": groups}
    )
    columns = [Column("real", "number"), Column("none", "number"), Column("g", "category")]
    found = {each.number: each for each in comparing.comparisons(frame, columns, 199)}
    assert found["real"].adjusted <= 0.01
    assert found["none"].adjusted > 0.05
    assert [group.rows for group in found["real"].groups] == [30, 30, 30]
    assert comparing.comparisons(frame, columns, 199) == comparing.comparisons(frame, columns, 199)


def test_a_large_table_is_shuffled_less_often(monkeypatch: pytest.MonkeyPatch):
    frame = pd.DataFrame({"v": np.arange(100.0), "g": ["a", "b"] * 50})
    columns = [Column("v", "number"), Column("g", "category")]
    (often,) = comparing.comparisons(frame, columns, 99)
    monkeypatch.setattr(comparing, "SHUFFLED_MAX", 900)
    (seldom,) = comparing.comparisons(frame, columns, 99)
    assert (often.chance * 100).is_integer()
    assert (seldom.chance * 10).is_integer()
    assert often.explained == seldom.explained


def test_many_questions_at_once_make_chances_larger():
    assert comparing.adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert comparing.adjusted([]) == []


def test_a_chart_has_the_colours_of_its_page_and_ids_of_its_own():
    values = pd.Series(np.arange(50.0))
    svg = charts.histogram(values, "a & b <c>")
    assert svg == charts.histogram(values, "a & b <c>")
    assert "var(--series-1)" in svg
    assert "#0505" not in svg
    assert "&lt;c&gt;" in svg
    ids = [Page(charts.histogram(values, name)).ids for name in ("one", "two")]
    assert set(ids[0]).isdisjoint(ids[1])


# --- the agents -----------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    return Bench(
        analysing.loader,
        analysing.cleaner,
        analysing.profiler,
        analysing.statistician,
        analysing.reporter,
    )


async def test_the_penguins_are_reported_on_and_twice_the_same(bench: Bench, tmp_path: Path):
    report = await analysis(bench, str(tmp_path))
    text = text_of(report["index"])
    page = Page(text)
    assert page.loads == []
    assert text.count('<svg class="chart"') >= 12
    assert len(page.ids) == len(set(page.ids))
    assert any("Culmen" in finding and "way round" in finding for finding in report["findings"])
    assert json.loads((tmp_path / "findings.json").read_text()) == report["findings"]
    rows = list(csv.DictReader(io.StringIO(text_of(report["table"]))))
    assert len(rows) == 344
    assert rows[0]["Date Egg"] == "2007-11-11"
    await analysis(bench, str(tmp_path))
    assert text_of(report["index"]) == text


async def test_any_csv_can_be_reported_on(bench: Bench, tmp_path: Path):
    path = tmp_path / "<people>.csv"
    path.write_text(MESSY)
    report = await analysis(bench, str(tmp_path / "out"), str(path), missing="drop")
    text = text_of(report["index"])
    Page(text)
    assert "&lt;people&gt;" in text
    assert report["findings"] == []


async def test_what_cannot_be_read_is_refused_for_good(bench: Bench, tmp_path: Path):
    run = await bench.run("analysis.load", {"path": str(tmp_path / "none.csv")})
    assert run.failure is not None
    assert (run.failure.code, run.failure.permanent) == ("TABLE", True)
    assert "No such file" in run.failure.message
    table = (await bench.run("analysis.load")).output
    run = await bench.run("analysis.clean", {"table": table, "outliers": "paint"})
    assert run.failure is not None
    assert "keep, clip or drop" in run.failure.message
