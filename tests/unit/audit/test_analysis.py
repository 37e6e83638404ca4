import subprocess
import tempfile
from pathlib import Path

import pytest

from muster.audit import analysis
from muster.audit.analysis import LintError, lint
from muster.audit.rules import category_of, severity_of
from muster.audit.shapes import FileLint
from tests.unit.audit.samples import BROKEN, PROJECT, TANGLED, UNSAFE, batch, source


def lint_one(path: str, text: str) -> FileLint:
    return lint({"sources": [source(path, text)]})["files"][0]


def rules(found: FileLint) -> list[str]:
    return [finding["rule"] for finding in found["findings"]]


def test_findings_say_rule_category_severity_and_place():
    found = lint_one("_calls.py", UNSAFE)
    assert found["findings"] == [
        {
            "rule": "S602",
            "category": "security",
            "severity": "high",
            "line": 5,
            "column": 5,
            "message": "`subprocess` call with `shell=True` identified, security issue",
        }
    ]


def test_complexity_counts_every_function_and_reports_the_complex_ones():
    found = lint_one("_a.py", TANGLED + "\n\ndef plain():\n    return 1\n")
    assert found["complexity"] == {"functions": 2, "sum": 16, "max": 15, "excess": 5}
    (complex_one,) = [f for f in found["findings"] if f["rule"] == "C901"]
    assert complex_one["message"] == "`tangled` is too complex (15 > 10)"
    assert complex_one["severity"] == "low"


def test_a_file_that_does_not_parse_is_one_finding():
    found = lint_one("a.py", BROKEN + BROKEN)
    assert rules(found).count("invalid-syntax") == 1
    (error,) = [f for f in found["findings"] if f["rule"] == "invalid-syntax"]
    assert (error["severity"], error["line"]) == ("high", 1)


def test_a_files_findings_depend_on_the_file_alone():
    alone = [lint({"sources": [item]})["files"][0] for item in PROJECT]
    together = lint({"sources": PROJECT})["files"]
    backwards = lint({"sources": PROJECT[::-1]})["files"]
    assert alone == together == backwards[::-1]


def test_files_of_one_name_do_not_mix():
    found = lint({"sources": [source("a/x.py", UNSAFE), source("b/x.py", "")]})["files"]
    assert "S602" in rules(found[0])
    assert "S602" not in rules(found[1])


def test_the_folder_does_not_matter_but_a_private_name_does():
    assert lint_one("tests/build/a.py", UNSAFE) == {
        **lint_one("a.py", UNSAFE),
        "path": ("tests/build/a.py"),
    }
    assert "D100" in rules(lint_one("a.py", "x = 1\n"))
    assert "D100" not in rules(lint_one("_a.py", "x = 1\n"))
    assert "D104" in rules(lint_one("a/__init__.py", "x = 1\n"))


@pytest.mark.parametrize("path", ["odd name.py", "-x.py", "é.py", "a/../b.py", "...py"])
def test_odd_names_are_linted_like_others(path: str):
    assert "S602" in rules(lint_one(path, UNSAFE))


def test_other_languages_have_no_findings_and_need_no_linter(monkeypatch: pytest.MonkeyPatch):
    lint(batch())
    monkeypatch.setattr(subprocess, "run", None)
    found = lint({"sources": [source("a.md", "# Shop")]})
    assert found["files"] == [
        {
            "path": "a.md",
            "findings": [],
            "dropped": 0,
            "complexity": {"functions": 0, "sum": 0, "max": 0, "excess": 0},
        }
    ]


def test_rules_come_with_their_names_and_the_tool_with_its_version():
    found = lint(batch(a=UNSAFE))
    assert found["rules"]["S602"]["name"] == "subprocess-popen-with-shell-equals-true"
    assert found["rules"]["S602"]["url"].startswith("https://")
    assert found["tool"].startswith("ruff ")


def test_too_many_findings_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(analysis, "FINDINGS_PER_FILE_MAX", 3)
    found = lint_one("_a.py", "import os\n" + "def f(x=[]): pass\n" * 5)
    assert len(found["findings"]) == 3
    assert found["dropped"] > 0


def test_a_linter_that_fails_is_an_error_and_not_an_empty_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(analysis, "_ruff_path", lambda: "no-such-program")
    with pytest.raises(LintError, match="could not be run"):
        lint(batch(a="x = 1"))
    monkeypatch.setattr(analysis, "_ruff_path", lambda: "false")
    with pytest.raises(LintError, match="failed with 1"):
        lint(batch(a="x = 1"))


def test_a_source_that_crashes_the_linter_costs_only_its_own_findings():
    deep = "x = " + "-" * 100_000 + "1\n"
    found = lint(batch(a=UNSAFE, b=deep, c=UNSAFE))["files"]
    assert [rules(file)[-1] for file in found] == ["S602", "not-analysed", "S602"]


def test_no_temporary_folder_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lint(batch(a=UNSAFE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rule", "message", "category", "severity"),
    [
        ("S602", "", "security", "high"),
        ("S602", "seems safe, but may change", "security", "low"),
        ("S310", "", "security", "medium"),
        ("S105", "", "security", "low"),
        ("D103", "", "docs", "low"),
        ("C901", "`f` is too complex (11 > 10)", "complexity", "low"),
        ("C901", "`f` is too complex (20 > 10)", "complexity", "medium"),
        ("PLR0912", "Too many branches (36 > 12)", "complexity", "high"),
        ("B904", "", "bugs", "low"),
        ("B006", "", "bugs", "medium"),
        ("PLE0302", "", "bugs", "high"),
        ("PLE0704", "", "bugs", "medium"),
        ("invalid-syntax", "", "bugs", "high"),
    ],
)
def test_severity_follows_from_rule_and_message(rule, message, category, severity):
    assert (category_of(rule), severity_of(rule, message)) == (category, severity)
