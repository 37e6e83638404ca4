"""What the code is made of: languages, licences, imports, its largest functions."""

from muster.audit.figures import count, plural, size
from muster.audit.page.markup import Html, bar, row, table, tag
from muster.audit.report_shapes import Findings, LanguageTotal
from muster.audit.shapes import Cycle, DependedOn, ImportGraph

_ROWS = 12


def code_section(found: Findings) -> Html:
    """Cards, two beside each other where there is room."""
    graph = found["imports"]
    cards = [
        _card("Languages", _languages(found["languages"])),
        _card("Licence hints", _licences(found)),
        _card("Most depended on", _depended_on(graph["depended_on"]) if graph else None),
        _card("From outside", _depended_on(graph["external"]) if graph else None),
        _card("Import cycles", _cycles(graph) if graph else None),
        _card("Largest functions", _largest(found)),
    ]
    return tag("section", tag("h2", "The code", id="code"), tag("div", *cards, class_="cards"))


def _card(title: str, body: Html | None) -> Html:
    return tag("div", tag("h3", title), body or tag("p", "missing", class_="muted"), class_="card")


def _languages(languages: list[LanguageTotal]) -> Html:
    most = max((language["bytes"] for language in languages), default=0)
    rows = []
    for language in languages[:_ROWS]:
        lines = language["lines"]
        rows.append(
            row(
                language["language"],
                count(language["files"]),
                count(lines["code"] if lines else None),
                size(language["bytes"]),
                bar(language["bytes"], most, "plain"),
                numbers=frozenset({1, 2, 3}),
            )
        )
    return table(("language", "files", "code", "size", ""), rows, frozenset({1, 2, 3}))


def _licences(found: Findings) -> Html | None:
    if "survey" in found["missing_parts"]:
        return None
    if not found["licences"]:
        return tag("p", "No file says anything about a licence.", class_="muted")
    rows = [
        row(
            licence["id"],
            ", ".join(f"{how} {n}" for how, n in licence["how"].items()),
            count(licence["files"]),
            tag("code", licence["example"]),
            numbers=frozenset({2}),
        )
        for licence in found["licences"][:_ROWS]
    ]
    return table(("licence", "how it is said", "files", "for example"), rows, frozenset({2}))


def _depended_on(modules: list[DependedOn]) -> Html:
    most = max((module["importers"] for module in modules), default=0)
    rows = [
        row(
            tag("code", module["module"]),
            count(module["importers"]),
            bar(module["importers"], most, "plain"),
            module["origin"] if module["path"] is None else None,
            numbers=frozenset({1}),
        )
        for module in modules[:_ROWS]
    ]
    return table(("module", "importers", "", ""), rows, frozenset({1}))


def _cycles(graph: ImportGraph) -> Html:
    if not graph["cycles"]:
        return tag("p", "None: imports never go in circles.", class_="muted")
    items = [tag("li", _cycle(cycle)) for cycle in graph["cycles"][:_ROWS]]
    hidden = graph["cycle_count"] - len(items)
    more = tag("p", f"… and {plural(hidden, 'more')}", class_="muted") if hidden > 0 else None
    return tag("div", tag("ul", *items), more)


def _cycle(cycle: Cycle) -> Html:
    loop = tag("code", " → ".join(cycle["example"]))
    if cycle["size"] < len(cycle["example"]):
        return loop
    note = f"one way round among {plural(cycle['size'], 'module')}"
    return tag("span", loop, tag("br"), tag("small", note))


def _largest(found: Findings) -> Html | None:
    if "measure" in found["missing_parts"]:
        return None
    rows = [
        row(
            tag("code", function["name"]),
            count(function["lines"]),
            tag("code", f"{function['path']}:{function['line']}"),
            numbers=frozenset({1}),
        )
        for function in found["largest_functions"][:_ROWS]
    ]
    return table(("function", "lines", "where"), rows, frozenset({1}))
