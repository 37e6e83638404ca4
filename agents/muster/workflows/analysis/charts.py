"""Charts as SVG, by matplotlib, to stand inside a page.

They have no colours of their own: each is drawn in placeholders, which are then replaced by the
page's CSS variables, so that a chart is dark where the page is. The same data gives the same bytes.
"""

import io
import re
from collections.abc import Sequence
from typing import Any, Final, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

INK: Final = "#010101"
MUTED: Final = "#020202"
LINE: Final = "#030303"
CARD: Final = "#040404"
SERIES: Final = ("#050501", "#050502", "#050503", "#050504", "#050505", "#050506")
_VARIABLES: Final = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    CARD: "var(--card)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)},
}
POINTS_MAX: Final = 2_000  # of a scatter plot; more are thinned evenly
BARS_MAX: Final = 12
_LABEL_CHARS_MAX: Final = 24
_LEGEND_CHARS_MAX: Final = 16  # so that three stand in a row
_NARROW: Final = (3.7, 2.0)  # inches: three such charts stand side by side
_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "none",
}


def histogram(values: "pd.Series[float]", label: str) -> str:
    """How often values of each size occur, with their median."""

    def draw(axes: Any) -> None:
        present = values.dropna()
        axes.hist(present, bins=_bins(present), color=SERIES[0], edgecolor=CARD, linewidth=0.8)
        axes.axvline(present.median(), color=INK, linewidth=1.2, linestyle=(0, (3, 2)))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(label)

    return _drawn(draw, f"histogram {label}", _NARROW)


def _bins(present: "pd.Series[float]") -> int:
    return int(np.clip(np.ceil(np.sqrt(len(present))), 5, 24))


def timeline(values: "pd.Series[float]", label: str) -> str:
    """How many rows fall into each span of time."""

    def draw(axes: Any) -> None:
        present = values.dropna()
        axes.hist(present, bins=_bins(present), color=SERIES[0], edgecolor=CARD, linewidth=0.8)
        axes.grid(axis="x", visible=False)
        locator = AutoDateLocator(minticks=2, maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_formatter(formatter)
        axes.set_xlabel(label)

    return _drawn(draw, f"timeline {label}", _NARROW)


def bars(counts: Sequence[tuple[str, int]], label: str) -> str:
    """Values by how often they occur, the most frequent on top."""

    def draw(axes: Any) -> None:
        shown = list(reversed(counts[:BARS_MAX]))
        drawn = axes.barh(range(len(shown)), [count for _, count in shown])
        axes.set_yticks(range(len(shown)), [_short(name) for name, _ in shown])
        for bar in drawn:
            bar.set(color=SERIES[0], height=0.68)
        axes.bar_label(drawn, padding=4, color=MUTED)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.12)

    height = max(1.2, 0.26 * min(len(counts), BARS_MAX) + 0.5)
    return _drawn(draw, f"bars {label}", (_NARROW[0], height))


def scatter(frame: pd.DataFrame, left: str, right: str, by: str) -> str:
    """Two numbers against each other, coloured by a category if one is named."""

    def draw(axes: Any) -> None:
        rows = frame[[left, right, *([by] if by else [])]].dropna(subset=[left, right])
        rows = rows.iloc[:: max(1, len(rows) // POINTS_MAX)]
        groups = sorted(rows[by].dropna().unique())[: len(SERIES)] if by else [None]
        for colour, group in zip(SERIES, groups, strict=False):
            part = rows if group is None else rows[rows[by] == group]
            label = None if group is None else _short(str(group))
            axes.scatter(part[left], part[right], s=15, color=colour, alpha=0.75, label=label, lw=0)
        axes.set(xlabel=left, ylabel=right)
        if by:
            columns = 3 if max(map(len, map(str, groups))) <= _LEGEND_CHARS_MAX else 2
            axes.figure.legend(
                loc="outside upper left",
                ncols=columns,
                fontsize=8.5,
                columnspacing=0.8,
                handletextpad=0,
            )

    return _drawn(draw, f"scatter {left} {right} {by}", (5.4, 3.8))


def boxes(frame: pd.DataFrame, category: str, number: str) -> str:
    """A number's quartiles in each group of a category."""

    def draw(axes: Any) -> None:
        rows = frame[[category, number]].dropna()
        names = sorted(rows[category].unique())[:BARS_MAX]
        drawn = axes.boxplot(
            [rows[rows[category] == name][number] for name in names],
            tick_labels=[_short(str(name)) for name in names],
            orientation="horizontal",
            patch_artist=True,
            widths=0.55,
            flierprops={"marker": "o", "markersize": 3, "markeredgecolor": MUTED},
        )
        for index, box in enumerate(drawn["boxes"]):
            box.set(facecolor=SERIES[index % len(SERIES)], edgecolor=INK, linewidth=0.8, alpha=0.8)
        for part in ("whiskers", "caps", "medians"):
            for line in drawn[part]:
                line.set(color=INK, linewidth=1.4 if part == "medians" else 0.9)
        axes.grid(axis="y", visible=False)
        axes.invert_yaxis()
        axes.set_xlabel(number)

    return _drawn(draw, f"boxes {category} {number}", (5.4, 2.6))


def _short(text: str) -> str:
    return text if len(text) <= _LABEL_CHARS_MAX else text[: _LABEL_CHARS_MAX - 1] + "…"


def _drawn(draw: Any, name: str, size: tuple[float, float]) -> str:
    """An <svg> element, `size` in inches. `name` keeps its ids apart from other charts'."""
    with mpl.rc_context(cast(Any, {**_STYLE, "svg.hashsalt": name})):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _for_a_page(stream.getvalue())


def _for_a_page(text: str) -> str:
    svg = text[text.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    used = {*re.findall(r'(?:url\(#|href="#)([\w-]+)', svg)}
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg class="chart" viewBox="\1">', svg)
