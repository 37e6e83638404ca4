"""The report as one self-contained HTML page: no scripts, no fonts, nothing from elsewhere.

Everything that comes from the audited sources goes through `markup.tag`, which escapes it.
"""

from importlib.resources import files

from muster.audit.figures import count, plural
from muster.audit.page.code import code_section
from muster.audit.page.findings import duplicates_section, findings_section
from muster.audit.page.hot_spots import all_files_section, hot_spots_section
from muster.audit.page.markup import Html, tag
from muster.audit.page.run import run_section
from muster.audit.page.tiles import tiles
from muster.audit.report_shapes import Findings, Report

_SECTIONS = (
    ("hot-spots", "Hot spots"),
    ("findings", "Findings"),
    ("duplicates", "Duplicates"),
    ("code", "The code"),
    ("run", "The run"),
    ("files", "All files"),
    ("method", "Method"),
)
# Nothing is loaded and nothing runs, whatever a source may have tried to smuggle in.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: Report) -> str:
    """The whole document."""
    found = report["findings"]
    title = f"{found['target']['name']} – Muster audit"
    body = tag(
        "body",
        _header(report),
        tag(
            "main",
            _missing(report),
            tiles(report),
            hot_spots_section(found),
            findings_section(found),
            duplicates_section(found),
            code_section(found),
            run_section(report["run"]),
            all_files_section(found),
            _method(found),
        ),
        _footer(report),
    )
    return f"<!doctype html>\n{tag('html', _head(title), body, lang='en')}\n"


def _head(title: str) -> Html:
    style = files("muster.audit.page").joinpath("page.css").read_text(encoding="utf-8")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(style)),
    )


def _header(report: Report) -> Html:
    found = report["findings"]
    totals = found["totals"]
    lines = totals["lines"]
    facts = [
        plural(totals["files"], "file"),
        plural(lines["total"], "line") if lines else None,
        *found["tools"],
    ]
    links = [tag("a", label, href=f"#{name}") for name, label in _SECTIONS]
    return tag(
        "header",
        tag("p", "Muster audit", class_="brand"),
        tag("h1", found["target"]["name"]),
        tag("p", " · ".join(fact for fact in facts if fact), class_="muted"),
        tag("nav", *links),
    )


def _missing(report: Report) -> Html | None:
    found = report["findings"]
    lines = [
        f"No results came from {kind} agents: what they would have found is not in this report."
        for kind in found["missing"]
    ]
    if report["run"]["statistics"] is None:
        lines.append("Nobody watched the run: there are no figures about the mesh.")
    lines += [
        f"“{part}” did not answer for {plural(gap['files'], 'file')}"
        + (f": {', '.join(gap['paths'][:5])}" if gap["paths"] else "")
        for part, gap in sorted(found["incomplete"].items())
    ]
    if not lines:
        return None
    return tag(
        "aside",
        tag("strong", "This report is not complete."),
        tag("ul", *(tag("li", line) for line in lines)),
        class_="missing",
        role="alert",
    )


def _method(found: Findings) -> Html:
    rows = [
        tag(
            "tr",
            tag("td", tag("i", class_=f"dot signal-{signal['name']}"), signal["name"]),
            tag("td", signal["weight"], class_="number"),
            tag("td", signal["half"], class_="number"),
            tag("td", signal["counts"]),
        )
        for signal in found["score"]["signals"]
    ]
    heads = [tag("th", "signal"), tag("th", "weight", class_="number")]
    heads += [tag("th", "half", class_="number"), tag("th", "x counts")]
    return tag(
        "section",
        tag("h2", "Method", id="method"),
        tag("p", "A file’s score runs from 0 to 100 and adds up its signals: ", class_="muted"),
        tag("p", tag("code", found["score"]["formula"])),
        tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)),
        _skipped(found),
    )


def _skipped(found: Findings) -> Html | None:
    if not found["skipped"]:
        return None
    rules = ", ".join(f"{rule} ({count(n)})" for rule, n in found["skipped"].items())
    return tag("p", f"Left out, by rule: {rules}. A folder counts once.", class_="muted")


def _footer(report: Report) -> Html:
    return tag(
        "footer",
        tag("span", "Findings depend on the sources alone. Their digest:"),
        " ",
        tag("code", report["findings_sha256"]),
    )
