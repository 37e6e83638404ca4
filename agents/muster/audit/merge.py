"""Puts the steps' answers together into the report's data.

`findings` is a pure function of what the steps said about the sources: the order of the answers,
answers that came twice and everything about time and agents leave no trace in it. Where a part is
missing the report says so and goes on with the others.
"""

from dataclasses import dataclass
from typing import Final

from muster.audit.canonical import digest
from muster.audit.languages import TEXT, language_of
from muster.audit.limits import INCOMPLETE_PATHS_MAX, LARGE_FUNCTIONS_MAX
from muster.audit.report_shapes import (
    FileReport,
    Findings,
    Incomplete,
    LargeFunction,
    Parts,
    Report,
    Run,
    Score,
    SignalInfo,
    SurveyReport,
)
from muster.audit.scoring import SIGNALS, signals_of
from muster.audit.shapes import FileLint, FileMeasures, FileSize, FileSurvey, RuleInfo
from muster.audit.totals import language_totals, licence_totals, rule_totals, totals

FORMAT: Final = 1
# Which kind of agent answers for which part.
KIND_OF_PART: Final = {
    "survey": "research",
    "measure": "processing",
    "lint": "analysis",
    "clones": "analysis",
    "imports": "analysis",
}
_FORMULA: Final = (
    "score = Σ weight · x / (x + half); severity points: high 10, medium 3, low 1, "
    "at most 10 for all low findings of one rule"
)


@dataclass(frozen=True, slots=True)
class _ByPath:
    """The per-file answers by path, none for files the manifest does not name."""

    survey: dict[str, FileSurvey]
    measure: dict[str, FileMeasures]
    lint: dict[str, FileLint]

    def answered(self) -> dict[str, set[str]]:
        """Which paths each per-file step answered for."""
        return {"survey": {*self.survey}, "measure": {*self.measure}, "lint": {*self.lint}}


def merge(parts: Parts, run: Run | None = None) -> Report:
    """The whole report; without `run` it says that nobody watched the mesh."""
    found = findings(parts)
    return {
        "muster_audit": FORMAT,
        "findings": found,
        "findings_sha256": digest(found),
        "run": run or {"statistics": None},
    }


def findings(parts: Parts) -> Findings:
    """What the audit found out, byte-identical for the same sources and analysers."""
    by_path = _by_path(parts)
    missing_parts = _missing_parts(parts)
    files = [_file_report(file, by_path, parts) for file in parts["manifest"]["files"]]
    files.sort(key=lambda file: (-file["score"], file["path"]))
    return {
        "target": parts["manifest"]["target"],
        "tools": sorted({result["tool"] for result in parts["lint"]}),
        "missing": _missing_kinds(missing_parts),
        "missing_parts": missing_parts,
        "incomplete": _incomplete(parts, by_path, missing_parts),
        "skipped": dict(sorted(parts["manifest"]["skipped"].items())),
        "score": _score(),
        "totals": totals(files),
        "languages": language_totals(files),
        "licences": licence_totals(files),
        "rules": rule_totals(files, _rule_infos(parts)),
        "files": files,
        "largest_functions": _largest_functions(files),
        "duplicates": parts["clones"],
        "imports": parts["imports"],
    }


def _by_path(parts: Parts) -> _ByPath:
    known = {file["path"] for file in parts["manifest"]["files"]}
    return _ByPath(
        {f["path"]: f for r in parts["survey"] for f in r["files"] if f["path"] in known},
        {f["path"]: f for r in parts["measure"] for f in r["files"] if f["path"] in known},
        {f["path"]: f for r in parts["lint"] for f in r["files"] if f["path"] in known},
    )


def _missing_parts(parts: Parts) -> list[str]:
    if not parts["manifest"]["files"]:
        return []
    present = {
        "survey": parts["survey"],
        "measure": parts["measure"],
        "lint": parts["lint"],
        "clones": parts["clones"],
        "imports": parts["imports"],
    }
    return [part for part in KIND_OF_PART if not present[part]]


def _missing_kinds(missing_parts: list[str]) -> list[str]:
    """Kinds that did none of their parts."""
    kinds = dict.fromkeys(KIND_OF_PART.values())
    return [
        kind
        for kind in kinds
        if all(part in missing_parts for part, of_kind in KIND_OF_PART.items() if of_kind == kind)
    ]


def _incomplete(parts: Parts, by_path: _ByPath, missing_parts: list[str]) -> dict[str, Incomplete]:
    paths = sorted(file["path"] for file in parts["manifest"]["files"])
    found: dict[str, Incomplete] = {}
    for part, answered in by_path.answered().items():
        absent = [path for path in paths if path not in answered]
        if absent and part not in missing_parts:
            found[part] = {"files": len(absent), "paths": absent[:INCOMPLETE_PATHS_MAX]}
    for part, result in (("clones", parts["clones"]), ("imports", parts["imports"])):
        if result and result["files"] < len(paths):
            found[part] = {"files": len(paths) - result["files"], "paths": []}
    return found


def _score() -> Score:
    signals = [
        SignalInfo(name=s.name, weight=s.weight, half=s.half, counts=s.counts) for s in SIGNALS
    ]
    return {"formula": _FORMULA, "signals": signals}


def _rule_infos(parts: Parts) -> dict[str, RuleInfo]:
    return {rule: info for result in parts["lint"] for rule, info in result["rules"].items()}


def _file_report(file: FileSize, by_path: _ByPath, parts: Parts) -> FileReport:
    path = file["path"]
    survey, measures = by_path.survey.get(path), by_path.measure.get(path)
    lint = by_path.lint.get(path)
    clones = parts["clones"]
    duplicated = clones["by_file"].get(path, 0) if clones else None
    signals = signals_of(measures, lint, duplicated)
    return {
        "path": path,
        "language": language_of(path) or TEXT,
        "bytes": file["bytes"],
        "score": round(sum(signals.values()), 1),
        "signals": signals,
        "survey": _survey_report(survey) if survey else None,
        "measures": measures,
        "lint": lint,
        "duplicated_lines": duplicated,
    }


def _survey_report(survey: FileSurvey) -> SurveyReport:
    return {
        "encoding": survey["encoding"],
        "sha256": survey["sha256"],
        "licences": survey["licences"],
        "copyrights": survey["copyrights"],
        "imports": len(survey["imports"]),
    }


def _largest_functions(files: list[FileReport]) -> list[LargeFunction]:
    found: list[LargeFunction] = [
        {**size, "path": file["path"]}
        for file in files
        if file["measures"]
        for size in file["measures"]["largest"]
    ]
    found.sort(key=lambda size: (-size["lines"], size["path"], size["line"]))
    return found[:LARGE_FUNCTIONS_MAX]
