"""What the mesh did: contracts, latencies, retries and stragglers."""

from muster.audit.figures import ABSENT, count, duration, plural
from muster.audit.page.charts import latency_chart, timeline_chart
from muster.audit.page.markup import Html, row, table, tag
from muster.audit.page.tiles import tile
from muster.audit.report_shapes import Run, RunStatistics, Straggler, Workload

_NUMBERS = frozenset({2, 3, 4, 5, 6, 7, 8, 9})


def run_section(run: Run) -> Html:
    """The run's figures; a line that says so where nobody watched."""
    statistics = run["statistics"]
    watched = (
        _watched(statistics)
        if statistics
        else [tag("p", "No monitoring agent watched this run.", class_="muted")]
    )
    return tag("section", tag("h2", "The run", id="run"), _facts(run), *watched)


def _facts(run: Run) -> Html | None:
    pairs = list(run.get("facts", {}).items())
    fleet = run.get("fleet", {})
    if fleet:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(fleet.items()))
        pairs.insert(0, ("fleet", f"{plural(sum(fleet.values()), 'agent')}: {kinds}"))
    if "wall_ms" in run:
        pairs.insert(0, ("took", duration(run["wall_ms"])))
    if not pairs:
        return None
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", text)) for name, text in pairs))


def _watched(statistics: RunStatistics) -> list[Html]:
    kinds = sorted(statistics["kinds"], key=lambda kind: -kind["latency"]["p99"])
    legend = [
        tag("span", tag("i", class_=f"dot kind-{kind['kind']}"), kind["kind"])
        for kind in statistics["kinds"]
    ]
    note = "From submission to the end; each bar runs from p50 to p99, with a mark at p90."
    return [
        _tiles(statistics),
        tag(
            "div",
            _card("Latency per kind", tag("p", note, class_="muted"), latency_chart(kinds)),
            _card(
                "Contracts ended over time",
                tag("p", *legend, class_="legend"),
                timeline_chart(statistics["throughput"]),
            ),
            class_="cards",
        ),
        tag("h3", "Capabilities"),
        _capabilities(statistics["capabilities"]),
        *_stragglers(statistics),
    ]


def _card(title: str, *body: Html) -> Html:
    return tag("div", tag("h3", title), *body, class_="card")


def _tiles(statistics: RunStatistics) -> Html:
    latency = statistics["latency"]
    seconds = statistics["wall_ms"] / 1000
    ended = statistics["contracts"] - statistics["unfinished"]
    rate = f"{ended / seconds:,.0f}/s" if seconds else ABSENT
    states = ", ".join(f"{count(n)} {s.lower()}" for s, n in statistics["states"].items())
    return tag(
        "div",
        tile("Contracts", count(statistics["contracts"]), states),
        tile("Throughput", rate, f"over {duration(statistics['wall_ms'])}"),
        tile("p50", duration(latency["p50"]), f"mean {duration(latency['mean'])}"),
        tile("p99", duration(latency["p99"]), f"longest {duration(latency['max'])}"),
        tile(
            "Tried again", count(statistics["retries"]), f"of {count(statistics['attempts'])} tries"
        ),
        tile("Lost attempts", count(statistics["lost_attempts"]), "with their hosts, then redone"),
        class_="tiles",
    )


def _capabilities(workloads: list[Workload]) -> Html:
    heads = ("capability", "kind", "contracts", "p50", "p90", "p99", "queued", "ran")
    rows = [_capability_row(w) for w in workloads]
    return table((*heads, "retries", "lost"), rows, _NUMBERS)


def _capability_row(workload: Workload) -> Html:
    latency = workload["latency"]
    return row(
        tag("code", workload["capability"]),
        tag("span", tag("i", class_=f"dot kind-{workload['kind']}"), workload["kind"]),
        count(workload["contracts"]),
        duration(latency["p50"]),
        duration(latency["p90"]),
        duration(latency["p99"]),
        duration(workload["queue"]["p50"]),
        duration(workload["run"]["p50"]),
        count(workload["retries"]),
        count(workload["lost_attempts"]),
        numbers=_NUMBERS,
    )


def _stragglers(statistics: RunStatistics) -> list[Html]:
    if not statistics["stragglers"]:
        return []
    rows = [_straggler_row(straggler) for straggler in statistics["stragglers"]]
    heads = ("contract", "capability", "tries", "took", "of the median")
    numbers = frozenset({2, 3, 4})
    body = table(heads, rows, numbers)
    title = plural(statistics["straggler_count"], "straggler")
    return [tag("details", tag("summary", title), body, class_="fold")]


def _straggler_row(straggler: Straggler) -> Html:
    return row(
        tag("code", straggler["contract_id"]),
        tag("code", straggler["capability"]),
        count(straggler["attempts"]),
        duration(straggler["latency_ms"]),
        f"{straggler['ratio']:.1f} ×",
        numbers=frozenset({2, 3, 4}),
    )
