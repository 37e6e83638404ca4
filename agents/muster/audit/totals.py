"""Adds the files of a report up: in all, per language, licence and rule."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from muster.audit.report_shapes import (
    Docs,
    FileReport,
    LanguageTotal,
    LicenceTotal,
    RuleTotal,
    Totals,
)
from muster.audit.rules import category_of
from muster.audit.shapes import (
    Category,
    Complexity,
    FileLint,
    FileMeasures,
    Finding,
    LineCounts,
    RuleInfo,
    Severity,
)

SEVERITIES: Final[tuple[Severity, ...]] = ("high", "medium", "low")
CATEGORIES: Final[tuple[Category, ...]] = ("security", "bugs", "complexity", "docs")


def totals(files: list[FileReport]) -> Totals:
    """Sums over all files; None for what no file has an answer for."""
    measures = [file["measures"] for file in files if file["measures"]]
    lints = [file["lint"] for file in files if file["lint"]]
    found = [finding for lint in lints for finding in lint["findings"]]
    duplicated = [n for file in files if (n := file["duplicated_lines"]) is not None]
    return {
        "files": len(files),
        "bytes": sum(file["bytes"] for file in files),
        "lines": add_lines(m["lines"] for m in measures) if measures else None,
        "functions": sum(m["functions"] for m in measures) if measures else None,
        "classes": sum(m["classes"] for m in measures) if measures else None,
        "docs": _docs(measures) if measures else None,
        "unparsed": sorted(m["path"] for m in measures if not m["parses"]),
        "findings": len(found) + sum(lint["dropped"] for lint in lints) if lints else None,
        "severities": severity_counts(found) if lints else None,
        "categories": _category_counts(found) if lints else None,
        "complexity": _complexity(lints) if lints else None,
        "duplicated_lines": sum(duplicated) if duplicated else None,
    }


def add_lines(counts: Iterable[LineCounts]) -> LineCounts:
    """The sum of line counts, kind by kind."""
    result = LineCounts(total=0, code=0, doc=0, comment=0, blank=0)
    for count in counts:
        result["total"] += count["total"]
        result["code"] += count["code"]
        result["doc"] += count["doc"]
        result["comment"] += count["comment"]
        result["blank"] += count["blank"]
    return result


def severity_counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings of each severity, gravest first, zeros included."""
    counts = Counter(finding["severity"] for finding in findings)
    return {severity: counts[severity] for severity in SEVERITIES}


def _category_counts(findings: Iterable[Finding]) -> dict[Category, int]:
    counts = Counter(finding["category"] for finding in findings)
    return {category: counts[category] for category in CATEGORIES}


def _docs(measures: list[FileMeasures]) -> Docs:
    public = sum(m["docs"]["public"] for m in measures)
    documented = sum(m["docs"]["documented"] for m in measures)
    share = round(documented / public, 4) if public else 1.0
    return {"public": public, "documented": documented, "share": share}


def _complexity(lints: list[FileLint]) -> Complexity:
    each = [lint["complexity"] for lint in lints]
    return {
        "functions": sum(c["functions"] for c in each),
        "sum": sum(c["sum"] for c in each),
        "max": max((c["max"] for c in each), default=0),
        "excess": sum(c["excess"] for c in each),
    }


def language_totals(files: list[FileReport]) -> list[LanguageTotal]:
    """Files, bytes and lines per language, the largest first."""
    groups: dict[str, list[FileReport]] = defaultdict(list)
    for file in files:
        groups[file["language"]].append(file)
    result = [_language_total(language, group) for language, group in groups.items()]
    return sorted(result, key=lambda total: (-total["bytes"], total["language"]))


def _language_total(language: str, group: list[FileReport]) -> LanguageTotal:
    lines = [file["measures"]["lines"] for file in group if file["measures"]]
    return {
        "language": language,
        "files": len(group),
        "bytes": sum(file["bytes"] for file in group),
        "lines": add_lines(lines) if lines else None,
    }


def licence_totals(files: list[FileReport]) -> list[LicenceTotal]:
    """How many files hint at each licence, and how; the most frequent first."""
    paths: dict[str, set[str]] = defaultdict(set)
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        for hint in file["survey"]["licences"] if file["survey"] else []:
            paths[hint["id"]].add(file["path"])
            ways[hint["id"]][hint["how"]] += 1
    result: list[LicenceTotal] = [
        {
            "id": name,
            "files": len(found),
            "how": dict(sorted(ways[name].items())),
            "example": min(found),
        }
        for name, found in paths.items()
    ]
    return sorted(result, key=lambda total: (-total["files"], total["id"]))


def rule_totals(files: list[FileReport], infos: Mapping[str, RuleInfo]) -> list[RuleTotal]:
    """Findings per rule, the gravest and then the most frequent first."""
    groups: dict[str, list[tuple[str, Finding]]] = defaultdict(list)
    for file in files:
        for finding in file["lint"]["findings"] if file["lint"] else []:
            groups[finding["rule"]].append((file["path"], finding))
    result = [_rule_total(rule, group, infos.get(rule)) for rule, group in groups.items()]
    return sorted(result, key=lambda t: (gravity(t["severity"]), -t["count"], t["rule"]))


def gravity(severity: Severity) -> int:
    """0 for the gravest: a sort key."""
    return SEVERITIES.index(severity)


def _rule_total(rule: str, group: list[tuple[str, Finding]], info: RuleInfo | None) -> RuleTotal:
    path, worst = min(group, key=lambda g: (gravity(g[1]["severity"]), g[0], g[1]["line"]))
    return {
        "rule": rule,
        "name": info["name"] if info else rule,
        "url": info["url"] if info else "",
        "category": category_of(rule),
        "severity": worst["severity"],
        "count": len(group),
        "files": len({path for path, _ in group}),
        "severities": severity_counts(finding for _, finding in group),
        "example": f"{path}:{worst['line']}",
        "message": worst["message"],
    }
