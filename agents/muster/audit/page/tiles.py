"""The figures at the top of the page."""

from muster.audit.figures import count, duration, plural, share
from muster.audit.page.markup import Html, tag
from muster.audit.report_shapes import Report, RunStatistics, Totals


def tiles(report: Report) -> Html:
    """One tile per figure, what is missing with a dash."""
    totals = report["findings"]["totals"]
    graph, statistics = report["findings"]["imports"], report["run"]["statistics"]
    return tag(
        "div",
        _lines(totals),
        _findings(totals),
        _complexity(totals),
        _docs(totals),
        _duplicates(report),
        tile("Import cycles", count(graph["cycle_count"] if graph else None), _cycles(report)),
        _mesh(statistics),
        _latency(statistics),
        class_="tiles",
    )


def tile(label: str, figure: str, note: str, css_class: str = "") -> Html:
    """A label, one large figure and a line that explains it."""
    return tag(
        "div",
        tag("span", label, class_="label"),
        tag("span", figure, class_="figure"),
        tag("span", note, class_="note"),
        class_=f"tile {css_class}".strip(),
    )


def _lines(totals: Totals) -> Html:
    lines = totals["lines"]
    note = f"of {count(lines['total'])} in {plural(totals['files'], 'file')}" if lines else ""
    return tile("Lines of code", count(lines["code"] if lines else None), note)


def _findings(totals: Totals) -> Html:
    severities = totals["severities"]
    if not severities:
        return tile("Findings", count(None), "")
    note = f"{count(severities['high'])} high, {count(severities['medium'])} medium"
    return tile("Findings", count(totals["findings"]), note, "grave" if severities["high"] else "")


def _complexity(totals: Totals) -> Html:
    complexity = totals["complexity"]
    if not complexity or not complexity["functions"]:
        return tile("Complexity", count(None), "")
    mean = complexity["sum"] / complexity["functions"]
    note = f"per function; the highest is {complexity['max']}"
    return tile("Complexity", f"{mean:.1f}", note)


def _docs(totals: Totals) -> Html:
    docs = totals["docs"]
    note = f"{count(docs['documented'])} of {count(docs['public'])} public names" if docs else ""
    return tile("Documented", share(docs["share"]) if docs else count(None), note)


def _duplicates(report: Report) -> Html:
    totals, clones = report["findings"]["totals"], report["findings"]["duplicates"]
    lines, duplicated = totals["lines"], totals["duplicated_lines"]
    note = f"{count(duplicated)} lines in {count(clones['group_count'])} groups" if clones else ""
    return tile("Duplicated", share(duplicated, lines["total"] if lines else None), note)


def _cycles(report: Report) -> str:
    graph = report["findings"]["imports"]
    return f"among {plural(graph['modules'], 'module')}" if graph else ""


def _mesh(statistics: RunStatistics | None) -> Html:
    if statistics is None:
        return tile("Contracts", count(None), "nobody watched the run")
    note = f"{count(statistics['retries'])} tried again, {count(statistics['lost_attempts'])} lost"
    return tile("Contracts", count(statistics["contracts"]), note)


def _latency(statistics: RunStatistics | None) -> Html:
    if statistics is None:
        return tile("Latency p50", count(None), "")
    latency = statistics["latency"]
    return tile("Latency p50", duration(latency["p50"]), f"p99 {duration(latency['p99'])}")
