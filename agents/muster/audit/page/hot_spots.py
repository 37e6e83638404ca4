"""The ranked files, each with what was found in it behind a fold."""

from collections import defaultdict

from muster.audit.figures import count, plural, share, size
from muster.audit.limits import (
    PAGE_FILES_MAX,
    PAGE_FINDINGS_PER_FILE_MAX,
    PAGE_HOT_SPOTS_MAX,
)
from muster.audit.page.markup import Html, row, table, tag
from muster.audit.reasons import reasons
from muster.audit.report_shapes import FileReport, Findings
from muster.audit.scoring import SIGNALS
from muster.audit.shapes import CloneGroup, Finding
from muster.audit.totals import SEVERITIES, gravity, severity_counts

_NUMBERS = frozenset({2, 3, 4, 5, 6, 7})


def hot_spots_section(found: Findings) -> Html:
    """The files with the highest scores, one fold each."""
    spots = [file for file in found["files"] if file["score"]]
    shown = spots[:PAGE_HOT_SPOTS_MAX]
    groups = _groups_by_path(found)
    legend = [
        tag("span", tag("i", class_=f"dot signal-{signal['name']}"), signal["name"])
        for signal in found["score"]["signals"]
    ]
    return tag(
        "section",
        tag("h2", "Hot spots", id="hot-spots"),
        tag(
            "p",
            f"The {count(len(shown))} highest of {plural(len(spots), 'file')} with a score. "
            "Open one to see why it is here.",
            class_="muted",
        ),
        tag("p", *legend, class_="legend"),
        tag("div", *(_spot(n, f, groups[f["path"]]) for n, f in enumerate(shown, 1))),
    )


def _groups_by_path(found: Findings) -> dict[str, list[CloneGroup]]:
    groups: dict[str, list[CloneGroup]] = defaultdict(list)
    for group in found["duplicates"]["groups"] if found["duplicates"] else []:
        for path in dict.fromkeys(place["path"] for place in group["locations"]):
            groups[path].append(group)
    return groups


def _spot(rank: int, file: FileReport, groups: list[CloneGroup]) -> Html:
    summary = tag(
        "summary",
        tag("span", rank, class_="rank"),
        tag("span", file["path"], class_="path"),
        tag("span", ", ".join(reasons(file)), class_="why"),
        tag("span", *_chips(file), class_="chips"),
        _stack(file),
        tag("span", f"{file['score']:.1f}", class_="score"),
    )
    inner = tag(
        "div",
        _facts(file),
        _finding_table(file),
        _functions(file),
        _copies(file["path"], groups),
        class_="inner",
    )
    return tag("details", summary, inner, class_="spot")


def _chips(file: FileReport) -> list[Html]:
    lint = file["lint"]
    counts = severity_counts(lint["findings"] if lint else [])
    return [
        tag("span", count(counts[name]), class_=f"chip {name}", title=f"{name} findings")
        for name in SEVERITIES
        if counts[name]
    ]


def _stack(file: FileReport) -> Html:
    parts = [
        tag(
            "span",
            style=f"width:{file['signals'][signal.name]:.1f}%",
            class_=f"signal-{signal.name}",
            title=f"{signal.name}: {file['signals'][signal.name]}",
        )
        for signal in SIGNALS
        if signal.name in file["signals"]
    ]
    return tag("span", *parts, class_="stack")


def _facts(file: FileReport) -> Html:
    pairs: list[tuple[str, str]] = []
    if measures := file["measures"]:
        docs = measures["docs"]
        pairs += [
            ("lines of code", count(measures["lines"]["code"])),
            ("functions", count(measures["functions"])),
            ("classes", count(measures["classes"])),
            ("deepest nesting", count(measures["nesting_max"])),
            ("longest function", plural(measures["function_lines_max"], "line")),
            ("documented", share(docs["documented"], docs["public"])),
        ]
    if lint := file["lint"]:
        pairs.append(("highest complexity", count(lint["complexity"]["max"])))
    if file["duplicated_lines"] is not None:
        pairs.append(("duplicated lines", count(file["duplicated_lines"])))
    if survey := file["survey"]:
        names = ", ".join(hint["id"] for hint in survey["licences"])
        pairs += [("imports", count(survey["imports"])), ("licence hints", names or "none")]
    cells = [tag("div", tag("dt", label), tag("dd", value)) for label, value in pairs]
    return tag("dl", *cells)


def _finding_table(file: FileReport) -> Html | None:
    lint = file["lint"]
    if not lint or not lint["findings"]:
        return None
    ranked = sorted(lint["findings"], key=lambda f: (gravity(f["severity"]), f["line"]))
    shown = ranked[:PAGE_FINDINGS_PER_FILE_MAX]
    hidden = len(ranked) - len(shown) + lint["dropped"]
    more = f"… and {plural(hidden, 'finding')} more, in the JSON report." if hidden else None
    rows = [_finding_row(finding) for finding in shown]
    heads = ("", "line", "rule", "what")
    return tag(
        "div",
        tag("h3", "Findings"),
        table(heads, rows, frozenset({1})),
        tag("p", more, class_="muted") if more else None,
    )


def _finding_row(finding: Finding) -> Html:
    return row(
        tag("span", finding["severity"], class_=f"chip {finding['severity']}"),
        str(finding["line"]),
        tag("code", finding["rule"], class_="rule"),
        finding["message"],
        numbers=frozenset({1}),
    )


def _functions(file: FileReport) -> Html | None:
    largest = file["measures"]["largest"][:5] if file["measures"] else []
    if not largest:
        return None
    rows = [
        row(
            tag("code", f["name"]),
            str(f["line"]),
            count(f["lines"]),
            count(f["arguments"]),
            count(f["nesting"]),
            numbers=frozenset({1, 2, 3, 4}),
        )
        for f in largest
    ]
    heads = ("function", "line", "lines", "arguments", "nesting")
    return tag("div", tag("h3", "Largest functions"), table(heads, rows, frozenset({1, 2, 3, 4})))


def _copies(path: str, groups: list[CloneGroup]) -> Html | None:
    items = []
    for group in groups[:8]:
        own = [place for place in group["locations"] if place["path"] == path]
        others = [place for place in group["locations"] if place["path"] != path]
        places = [f"{p['path']}:{p['start']}–{p['end']}" for p in (*own[1:], *others)]
        more = f" and {plural(len(places) - 3, 'more place')}" if len(places) > 3 else ""
        lines = f"lines {own[0]['start']}–{own[0]['end']}"
        items.append(tag("li", f"{lines} also stand in ", tag("code", ", ".join(places[:3])), more))
    return tag("div", tag("h3", "Duplicates"), tag("ul", *items)) if items else None


def all_files_section(found: Findings) -> Html:
    """Every file in one table, behind a fold."""
    files = sorted(found["files"], key=lambda file: file["path"])
    rows = [_file_row(file) for file in files[:PAGE_FILES_MAX]]
    heads = ("file", "language", "size", "code", "functions", "findings", "duplicated", "score")
    hidden = len(files) - len(rows)
    note = f"{plural(hidden, 'file')} more in the JSON report." if hidden > 0 else None
    return tag(
        "section",
        tag("h2", "All files", id="files"),
        tag(
            "details",
            tag("summary", plural(len(files), "file")),
            table(heads, rows, _NUMBERS),
            tag("p", note, class_="muted") if note else None,
            class_="fold",
        ),
    )


def _file_row(file: FileReport) -> Html:
    measures, lint = file["measures"], file["lint"]
    return row(
        tag("code", file["path"]),
        file["language"],
        size(file["bytes"]),
        count(measures["lines"]["code"] if measures else None),
        count(measures["functions"] if measures else None),
        count(len(lint["findings"]) + lint["dropped"] if lint else None),
        count(file["duplicated_lines"]),
        f"{file['score']:.1f}",
        numbers=_NUMBERS,
    )
