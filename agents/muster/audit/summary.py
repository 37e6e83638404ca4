"""The end of a run in the terminal: what was found, what the mesh did, where to look closer.

Works at 80 columns; where the output is no terminal, it is plain text without lines and colours.
Nothing is ever read as rich's markup: file names may hold brackets.
"""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from muster.audit.figures import count, duration, plural, share
from muster.audit.reasons import reasons
from muster.audit.report import Written
from muster.audit.report_shapes import Findings, Report, RunStatistics, Workload
from muster.audit.totals import CATEGORIES, SEVERITIES

_HOT_SPOTS = 10
_STYLES = {"high": "bold red", "medium": "yellow", "low": "dim"}
_LABEL_WIDTH = 12


def show(
    report: Report,
    console: Console,
    written: Written | None = None,
    hints: Sequence[str] = (),
) -> None:
    """Prints the summary. `hints` are lines that say how to look closer, such as commands."""
    console.print(summary(report, written, hints, lined=console.is_terminal))


def summary(
    report: Report,
    written: Written | None = None,
    hints: Sequence[str] = (),
    *,
    lined: bool = True,
) -> RenderableType:
    """The summary as one renderable; `lined` tables have a line under their head."""
    found, statistics = report["findings"], report["run"]["statistics"]
    blocks: list[RenderableType] = [_title(found), _totals(found)]
    if any(file["score"] for file in found["files"]):
        blocks.append(_hot_spots(found, lined=lined))
    if found["totals"]["severities"]:
        blocks.append(_categories(found, lined=lined))
    if statistics:
        blocks.append(_kinds(statistics["kinds"], lined=lined))
        blocks.append(_mesh(report, statistics))
    if missing := warnings(report):
        blocks.append(Text("\n".join(missing), style="bold yellow"))
    if written or hints:
        blocks.append(_closer(written, hints))
    return Group(*_apart(blocks))


def warnings(report: Report) -> list[str]:
    """What is missing from the report, one line each."""
    found = report["findings"]
    lines = [f"Missing: {kind} agents did not answer." for kind in found["missing"]]
    if report["run"]["statistics"] is None:
        lines.append("Missing: monitoring agents did not watch the run.")
    lines += [
        f"Incomplete: {part} did not answer for {plural(gap['files'], 'file')}."
        for part, gap in sorted(found["incomplete"].items())
    ]
    if found["totals"]["unparsed"]:
        lines.append(f"{plural(len(found['totals']['unparsed']), 'file')} did not parse.")
    return lines


def _apart(blocks: Iterable[RenderableType]) -> list[RenderableType]:
    """The blocks with a blank line between each two."""
    return [part for block in blocks for part in (block, Text())][:-1]


def _title(found: Findings) -> Text:
    return Text.assemble(("Muster audit", "bold"), ": ", found["target"]["name"])


def _totals(found: Findings) -> Table:
    totals, clones, graph = found["totals"], found["duplicates"], found["imports"]
    lines, docs = totals["lines"], totals["docs"]
    size = plural(totals["files"], "file")
    if lines:
        size += f", {count(lines['total'])} lines, {count(lines['code'])} of them code"
    rows = [("audited", size)]
    if totals["functions"] is not None:
        sizes = f"{plural(totals['functions'], 'function')}, {count(totals['classes'])} classes"
        rows.append(("contains", sizes))
    if docs:
        rows.append(("documented", f"{share(docs['share'])} of {count(docs['public'])} names"))
    if clones:
        groups = plural(clones["group_count"], "group")
        rows.append(("duplicated", f"{count(totals['duplicated_lines'])} lines in {groups}"))
    if graph:
        links = plural(graph["edges"], "link")
        rows.append(("imports", f"{links}, {plural(graph['cycle_count'], 'cycle')}"))
    if found["licences"]:
        names = ", ".join(f"{item['id']} ({item['files']})" for item in found["licences"][:4])
        rows.append(("licences", names))
    return _labelled(rows)


def _hot_spots(found: Findings, *, lined: bool) -> Table:
    table = _table(lined=lined)
    table.add_column("#", justify="right")
    table.add_column("hot spot", overflow="fold", ratio=5)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("because of", overflow="fold", ratio=6)
    for rank, file in enumerate(found["files"][:_HOT_SPOTS], 1):
        if file["score"]:
            why = Text(", ".join(reasons(file)), style="dim")
            table.add_row(str(rank), Text(file["path"]), f"{file['score']:.1f}", why)
    return table


def _categories(found: Findings, *, lined: bool) -> Table:
    table = _table(lined=lined)
    table.add_column("findings")
    for severity in SEVERITIES:
        table.add_column(severity, justify="right", style=_STYLES[severity])
    table.add_column("gravest", no_wrap=True, overflow="ellipsis", ratio=1)
    for category in CATEGORIES:
        rules = [rule for rule in found["rules"] if rule["category"] == category]
        gravest = f"{rules[0]['name']} ({count(rules[0]['count'])})" if rules else ""
        numbers = [sum(rule["severities"][name] for rule in rules) for name in SEVERITIES]
        table.add_row(category, *(count(number) for number in numbers), Text(gravest))
    return table


def _kinds(kinds: Iterable[Workload], *, lined: bool) -> Table:
    table = _table(lined=lined)
    table.add_column("kind", ratio=1)
    for head in ("contracts", "p50", "p99", "queued", "ran", "retries", "lost"):
        table.add_column(head, justify="right", no_wrap=True)
    for kind in kinds:
        table.add_row(
            Text(kind["kind"]),
            count(kind["contracts"]),
            duration(kind["latency"]["p50"]),
            duration(kind["latency"]["p99"]),
            duration(kind["queue"]["p50"]),
            duration(kind["run"]["p50"]),
            count(kind["retries"]),
            count(kind["lost_attempts"]),
        )
    return table


def _mesh(report: Report, statistics: RunStatistics) -> Table:
    latency, rows = statistics["latency"], []
    fleet = report["run"].get("fleet", {})
    if fleet:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(fleet.items()))
        rows.append(("fleet", f"{plural(sum(fleet.values()), 'agent')}: {kinds}"))
    wall = report["run"].get("wall_ms", statistics["wall_ms"])
    ended = f"{plural(statistics['contracts'], 'contract')} in {duration(wall)}"
    if statistics["unfinished"]:
        ended += f", {count(statistics['unfinished'])} unfinished"
    rows.append(("mesh", ended))
    rows.append(("latency", f"p50 {duration(latency['p50'])}, p99 {duration(latency['p99'])}"))
    retried, lost = count(statistics["retries"]), plural(statistics["lost_attempts"], "attempt")
    rows.append(("tried again", f"{retried}; {lost} lost with their hosts"))
    if statistics["stragglers"]:
        slowest = statistics["stragglers"][0]
        worst = f"{slowest['capability']} with {duration(slowest['latency_ms'])}"
        rows.append(("stragglers", f"{statistics['straggler_count']}, the slowest {worst}"))
    return _labelled([*rows, *sorted(report["run"].get("facts", {}).items())])


def _closer(written: Written | None, hints: Sequence[str]) -> Table:
    rows = [("report", str(written.html)), ("as data", str(written.json))] if written else []
    return _labelled([*rows, *(("" if n else "look closer", hint) for n, hint in enumerate(hints))])


def _labelled(rows: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", width=_LABEL_WIDTH)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(Text(label), Text(text))
    return grid


def _table(*, lined: bool) -> Table:
    frame = box.SIMPLE_HEAD if lined else None
    return Table(box=frame, expand=True, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
