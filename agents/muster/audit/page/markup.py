"""Builds HTML and SVG from text, escaping everything that is not markup already."""

from collections.abc import Iterable
from html import escape
from typing import Final

_VOID: Final = frozenset({"meta", "br", "hr", "img", "input"})


class Html(str):
    """Text that is markup: `tag` puts it in as it is."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Html | None"]


def tag(name: str, /, *children: Child, **attributes: str | int | float | None) -> Html:
    """One element. A child is escaped unless it is Html; None, child or attribute, is left out.

    Attribute names take "-" for "_", and a trailing "_" is dropped: class_="x", stroke_width=2.
    """
    opening = name + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{''.join(map(_inner, children))}</{name}>")


def _inner(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int | float):
        return escape(str(child))
    return "".join(part for part in child if part is not None)


def table(heads: Iterable[str], rows: Iterable[Html], numbers: frozenset[int]) -> Html:
    """A table that may scroll sideways; `numbers` are the columns aligned to the right."""
    cells = [
        tag("th", head, class_="number" if index in numbers else None)
        for index, head in enumerate(heads)
    ]
    inner = tag("table", tag("thead", tag("tr", *cells)), tag("tbody", *rows))
    return tag("div", inner, class_="scroll")


def row(*cells: Child, numbers: frozenset[int] = frozenset()) -> Html:
    """A table row; `numbers` as in `table`."""
    return tag(
        "tr",
        *(
            tag("td", cell, class_="number" if index in numbers else None)
            for index, cell in enumerate(cells)
        ),
    )


def bar(part: float, whole: float, css_class: str) -> Html:
    """A horizontal bar that fills `part` of `whole` of its cell."""
    percent = 100 * part / whole if whole else 0.0
    return tag("span", tag("span", style=f"width:{percent:.1f}%", class_=css_class), class_="bar")


def link(text: str, url: str) -> Html:
    """A link to a web page; plain text where the address is not one."""
    if not url.startswith("https://"):
        return tag("span", text)
    return tag("a", text, href=url, rel="noreferrer noopener")
