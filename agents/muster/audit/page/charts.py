"""Inline SVG: latency ranges per kind of agent, and what ended when."""

import math
from collections.abc import Iterable
from typing import Final

from muster.audit.figures import duration
from muster.audit.page.markup import Html, tag
from muster.audit.report_shapes import Throughput, Workload

_WIDTH: Final = 560
_LABEL: Final = 105
_FIGURES: Final = 125
_ROW: Final = 30
_HEIGHT: Final = 150
_AXIS: Final = 22


def latency_chart(workloads: list[Workload]) -> Html:
    """One row per kind on a logarithmic axis: a bar from p50 to p99, with a mark at p90."""
    times = [w["latency"] for w in workloads if w["latency"]["count"]]
    low = 10 ** math.floor(math.log10(max(min((t["p50"] for t in times), default=1), 0.1)))
    high = 10 ** math.ceil(math.log10(max((t["p99"] for t in times), default=1) + 0.1))
    scale = _LogScale(low, max(high, low * 10))
    height = _ROW * len(workloads) + _AXIS
    return tag(
        "svg",
        *(_grid_line(scale, tick, height) for tick in scale.ticks()),
        *(_latency_row(scale, index, w) for index, w in enumerate(workloads)),
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        aria_label="Latency from p50 to p99 per kind of agent",
        class_="chart",
    )


class _LogScale:
    """Where a time stands between the labels on the left and the figures on the right."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def at(self, ms: float) -> float:
        part = math.log10(max(ms, self._low) / self._low) / math.log10(self._high / self._low)
        return round(_LABEL + part * (_WIDTH - _LABEL - _FIGURES), 1)

    def ticks(self) -> Iterable[float]:
        tick = self._low
        while tick <= self._high * 1.001:
            yield tick
            tick *= 10


def _grid_line(scale: _LogScale, tick: float, height: int) -> Html:
    x = scale.at(tick)
    bottom = height - _AXIS
    return tag(
        "g",
        tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"),
        tag("text", duration(tick), x=x, y=height - 6, text_anchor="middle", class_="tick"),
    )


def _latency_row(scale: _LogScale, index: int, workload: Workload) -> Html:
    middle = index * _ROW + _ROW / 2
    latency = workload["latency"]
    label = tag("text", workload["kind"], x=0, y=middle + 4, class_="kind-label")
    if not latency["count"]:
        return tag("g", label)
    begin, mark, end = (scale.at(latency[key]) for key in ("p50", "p90", "p99"))
    figures = f"{duration(latency['p50'])} / {duration(latency['p99'])}"
    return tag(
        "g",
        label,
        tag(
            "rect",
            tag("title", f"{workload['kind']}: p50 to p99"),
            x=begin,
            y=middle - 6,
            width=round(max(end - begin, 3), 1),
            height=12,
            rx=4,
            class_=f"fill kind-{workload['kind']}",
        ),
        tag("line", x1=mark, x2=mark, y1=middle - 9, y2=middle + 9, class_="mark"),
        tag("text", figures, x=_WIDTH, y=middle + 4, text_anchor="end", class_="tick"),
    )


def timeline_chart(throughput: Throughput) -> Html:
    """Stacked columns: contracts that ended in each slice of time, by kind."""
    kinds = {kind: ended for kind, ended in throughput["kinds"].items() if any(ended)}
    bins = max((len(ended) for ended in kinds.values()), default=1)
    totals = [sum(ended[i] for ended in kinds.values()) for i in range(bins)] if kinds else [0]
    top = max(*totals, 1)
    width = _WIDTH / bins
    return tag(
        "svg",
        *(_column(kinds, i, top, width) for i in range(bins) if kinds),
        tag("line", x1=0, x2=_WIDTH, y1=_HEIGHT, y2=_HEIGHT, class_="grid"),
        *_time_ticks(throughput["bin_ms"] * bins),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT + _AXIS}",
        role="img",
        aria_label="Contracts ended over time, by kind of agent",
        class_="chart",
    )


def _column(kinds: dict[str, list[int]], index: int, top: int, width: float) -> Html:
    parts, y = [], float(_HEIGHT)
    for kind, ended in kinds.items():
        height = ended[index] / top * (_HEIGHT - 8)
        if height:
            y -= height
            parts.append(
                tag(
                    "rect",
                    tag("title", f"{kind}: {ended[index]}"),
                    x=round(index * width + 1, 1),
                    y=round(y, 1),
                    width=round(max(width - 2, 1), 1),
                    height=round(height, 1),
                    class_=f"fill kind-{kind}",
                )
            )
    return tag("g", *parts)


def _time_ticks(whole_ms: float) -> Iterable[Html]:
    for part, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle")):
        yield _time_tick(whole_ms, part, anchor)
    yield _time_tick(whole_ms, 1.0, "end")


def _time_tick(whole_ms: float, part: float, anchor: str) -> Html:
    return tag(
        "text",
        duration(whole_ms * part) if part else "0",
        x=round(_WIDTH * part, 1),
        y=_HEIGHT + 16,
        text_anchor=anchor,
        class_="tick",
    )
