import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from muster.audit import figures
from muster.audit.local import audit
from muster.audit.merge import merge
from muster.audit.monitoring import statistics, timelines
from muster.audit.page import page
from muster.audit.page.markup import Html, link, tag
from muster.audit.report import Written, write
from muster.audit.report_shapes import Parts, Report
from muster.audit.shapes import Collection
from muster.audit.summary import show
from tests.unit.audit.samples import PROJECT, UNSAFE, source
from tests.unit.audit.test_monitoring import story

ATTACK = "<script>alert('\"&')</script>"
VOID = {"meta", "br", "hr", "img", "input"}


def report_of(collection: Collection) -> Report:
    events = [e for n in range(8) for e in story(f"c{n}", start=n * 40)]
    events += story("slow", took=2_000) + story("r1", kind="research")
    found = audit(collection)
    return {
        "muster_audit": 1,
        "findings": found,
        "findings_sha256": "0" * 64,
        "run": {
            "fleet": {"analysis": 150, "research": 100},
            "wall_ms": 1234.0,
            "facts": {"record": "one file [here]"},
            "statistics": statistics(timelines({"events": events})),
        },
    }


@pytest.fixture(scope="module")
def report() -> Report:
    return report_of(
        {
            "target": {"name": "shop", "form": "folder"},
            "sources": sorted(PROJECT, key=lambda s: s["path"]),
            "skipped": {"tests": 2},
        }
    )


@pytest.fixture
def bare() -> Report:
    """A report of which every part is missing."""
    parts: Parts = {
        "manifest": {
            "target": {"name": "shop", "form": "folder"},
            "files": [{"path": "a.py", "bytes": 3}],
            "skipped": {},
        },
        "survey": [],
        "measure": [],
        "lint": [],
        "clones": None,
        "imports": None,
    }
    return merge(parts)


class Checker(HTMLParser):
    """Notes which elements there are, and fails where they do not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(report: Report):
    text = page(report)
    found = checked(text)
    names = {name for name, _ in found.seen}
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    for name, attributes in found.seen:
        assert name == "a" or not {"src", "href", "xlink:href", "data"} & attributes.keys()
        assert not [key for key in attributes if key.startswith("on")]
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in text or "default-src &#x27;none&#x27;" in text


def test_every_link_within_the_page_has_its_target(report: Report):
    found = checked(page(report))
    ids = {attributes["id"] for _, attributes in found.seen if "id" in attributes}
    links = [a["href"] or "" for name, a in found.seen if name == "a"]
    assert {href.removeprefix("#") for href in links if href.startswith("#")} <= ids


def test_nothing_from_the_sources_becomes_markup():
    collection: Collection = {
        "target": {"name": ATTACK, "form": "folder"},
        "sources": [
            source(f"{ATTACK}/a.py", f'"""{ATTACK}"""\n{UNSAFE}\ndef f(x=[]): pass\n'),
            source("b.py", f"# Copyright {ATTACK} 2020\nimport a\n__all__ = ['{ATTACK}']\n"),
        ],
        "skipped": {ATTACK: 1},
    }
    hostile = report_of(collection)
    hostile["run"]["facts"] = {ATTACK: ATTACK}
    hostile["run"]["statistics"]["capabilities"][0]["capability"] = ATTACK  # type: ignore[index]
    text = page(hostile)
    assert "<script" not in text
    assert "alert" in text
    checked(text)


def test_the_page_says_what_is_missing(bare: Report):
    text = page(bare)
    checked(text)
    for kind in ("research", "processing", "analysis"):
        assert f"No results came from {kind} agents" in text
    assert "Nobody watched the run" in text


def test_a_complete_report_warns_of_nothing(report: Report):
    assert "This report is not complete" not in page(report)


def test_the_page_of_a_report_read_back_is_the_same(report: Report, tmp_path: Path):
    written = write(report, tmp_path / "new" / "folder")
    again = json.loads(written.json.read_bytes())
    assert page(again) == written.html.read_text(encoding="utf-8")
    assert sorted(path.name for path in written.html.parent.iterdir()) == [
        "report.html",
        "report.json",
    ]


def test_hot_spots_show_their_findings_and_duplicates_their_lines(report: Report):
    text = page(report)
    assert "S602" in text
    assert re.search(r"shop/ledger\.py:\d+–\d+", text)


@given(st.text(), st.text())
def test_text_and_attributes_are_always_escaped(text: str, value: str):
    found = checked(tag("p", text, title=value))
    assert [name for name, _ in found.seen] == ["p"]


def test_markup_is_put_in_as_it_is_and_nothing_is_left_out():
    inner = tag("b", "x & y", class_="a")
    assert tag("p", inner, None, 3, data_n=1, id=None) == (
        '<p data-n="1"><b class="a">x &amp; y</b>3</p>'
    )
    assert isinstance(inner, Html)
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://a", "data:text/html,x", ""])
def test_only_web_addresses_become_links(url: str):
    assert link("x", url) == "<span>x</span>"


def printed(report: Report, width: int = 80, *, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
    )
    written = Written(Path("out/report.html"), Path("out/report.json"))
    show(report, console, written, ["muster top", "muster get [id]"])
    return out.getvalue()


def test_the_summary_is_plain_text_of_80_columns_where_there_is_no_terminal(report: Report):
    text = printed(report)
    assert "\x1b" not in text
    assert not re.search("[─-╿]", text)
    assert max(len(line) for line in text.split("\n")) <= 80


def test_the_summary_says_what_a_reader_needs(report: Report):
    text = printed(report)
    for expected in (
        "shop",
        "shop/orders.py",
        "250 agents",
        "p99",
        "out/report.html",
        "muster get [id]",
        "one file [here]",
        "1 file did not parse",
    ):
        assert expected in text


def test_the_summary_has_colours_on_a_terminal(report: Report):
    assert "\x1b[" in printed(report, terminal=True)


def test_the_summary_says_what_is_missing(bare: Report):
    text = printed(bare)
    for kind in ("research", "processing", "analysis"):
        assert f"Missing: {kind} agents did not answer." in text
    assert "Missing: monitoring agents did not watch the run." in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_summary_fits_any_width(report: Report, width: int):
    assert max(len(line) for line in printed(report, width).split("\n")) <= width


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (figures.count, 1234567, "1,234,567"),
        (figures.count, None, "–"),
        (figures.duration, 0.84, "0.8 ms"),
        (figures.duration, 9.96, "10 ms"),
        (figures.duration, 999.4, "999 ms"),
        (figures.duration, 999.6, "1.0 s"),
        (figures.duration, 59_940, "59.9 s"),
        (figures.duration, 95_000, "1 min 35 s"),
        (figures.share, 0.5357, "54 %"),
        (figures.share, 0.001, "< 1 %"),
        (figures.share, 0.999, "> 99 %"),
        (figures.share, 1.0, "100 %"),
        (figures.size, 1, "1 byte"),
        (figures.size, 11_568_075, "11.0 MiB"),
    ],
)
def test_figures_read_well(function: Any, value: float | None, expected: str):
    assert function(value) == expected
