"""Pictures of graphs: as they look, and, for any graph, that its lines can be followed."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.cli.workflow_nets import TooWide, nets_of
from muster.cli.workflow_picture import Box, picture

Graph = dict[str, list[str]]


def drawn(graph: Graph, width: int = 80, *, ascii_only: bool = False) -> list[str]:
    boxes = [Box(name, tuple(after), ((name, ""),)) for name, after in graph.items()]
    lines = picture(boxes, width, ascii_only=ascii_only)
    return ["".join(text for text, _ in line) for line in lines]


def looks(graph: Graph, wanted: str, width: int = 80, *, ascii_only: bool = False) -> None:
    assert "\n".join(drawn(graph, width, ascii_only=ascii_only)) == dedent(wanted).strip("\n")


def test_a_chain_runs_straight_down() -> None:
    looks(
        {"plan": [], "draft": ["plan"], "publish": ["draft"]},
        """
        ┌─────────┐
        │ plan    │
        └────┬────┘
        ┌────┴────┐
        │ draft   │
        └────┬────┘
        ┌────┴────┐
        │ publish │
        └─────────┘
        """,
    )


def test_a_diamond_opens_and_closes() -> None:
    looks(
        {"load": [], "clean": ["load"], "profile": ["load"], "report": ["clean", "profile"]},
        """
               ┌─────────┐
               │ load    │
               └────┬────┘
             ╭──────┴─────╮
        ┌────┴────┐  ┌────┴────┐
        │ clean   │  │ profile │
        └────┬────┘  └────┬────┘
             ╰─────┬──────╯
              ┌────┴────┐
              │ report  │
              └─────────┘
        """,
    )


def test_a_wide_layer_wraps_between_rails() -> None:
    pages = [f"page{number}" for number in range(5)]
    looks(
        {"plan": [], **{page: ["plan"] for page in pages}, "index": pages},
        """
                      ┌────────┐
                      │ plan   │
                      └────┬───┘
        ╭──────┬───────────┼───────────╮
        │ ┌────┴───┐  ┌────┴───┐  ┌────┴───┐
        │ │ page0  │  │ page1  │  │ page2  │
        │ └────┬───┘  └────┬───┘  └────┬───┘
        │      ╰───────────┴───────────┴─────╮
        ╰────────────┬───────────╮           │
                ┌────┴───┐  ┌────┴───┐       │
                │ page3  │  │ page4  │       │
                └────┬───┘  └────┬───┘       │
                     ╰─────┬─────┴───────────╯
                      ┌────┴───┐
                      │ index  │
                      └────────┘
        """,
        width=38,
    )


def test_a_line_that_passes_a_row_goes_beside_its_boxes() -> None:
    looks(
        {"a": [], "b": ["a"], "c": ["b"], "x": ["a"], "d": ["c", "x"], "e": ["a", "x"]},
        """
                 ┌────────┐
                 │ a      │
                 └────┬───┘
                ╭─────┴─────╮
           ┌────┴───┐  ┌────┴───┐
           │ b      │  │ x      │
           └────┬───┘  └────┬───┘
                │           ├────╮
        ┌───────┴┐  ┌───────┴┐   │
        │ c      │  │ e      │   │
        └────┬───┘  └────────┘   │
             ╰────────╮ ╭────────╯
                  ┌───┴─┴──┐
                  │ d      │
                  └────────┘
        """,
    )


def test_lines_that_cross_are_not_joined() -> None:
    looks(
        {"a": [], "b": [], "c": [], "x": ["a", "c"], "y": ["b"]},
        """
        ┌────────┐  ┌────────┐  ┌────────┐
        │ a      │  │ b      │  │ c      │
        └────┬───┘  └────┬───┘  └────┬───┘
             ╰─────┬─────│───────────╯
                   │     ╰─────╮
              ┌────┴───┐  ┌────┴───┐
              │ x      │  │ y      │
              └────────┘  └────────┘
        """,
    )


def test_where_all_depend_on_all_there_is_one_line() -> None:
    looks(
        {"a": [], "b": [], "x": ["a", "b"], "y": ["a", "b"]},
        """
        ┌────────┐  ┌────────┐
        │ a      │  │ b      │
        └────┬───┘  └────┬───┘
             ├───────────┤
        ┌────┴───┐  ┌────┴───┐
        │ x      │  │ y      │
        └────────┘  └────────┘
        """,
    )


def test_there_is_a_form_in_ascii() -> None:
    looks(
        {"a": [], "b": ["a"], "c": ["a"]},
        """
              +--------+
              | a      |
              +----+---+
             +-----+-----+
        +----+---+  +----+---+
        | b      |  | c      |
        +--------+  +--------+
        """,
        ascii_only=True,
    )


# --- for any graph --------------------------------------------------------------------------------

UP, DOWN, LEFT, RIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)
LEADS = {
    "│": (UP, DOWN),
    "─": (LEFT, RIGHT),
    "╭": (DOWN, RIGHT),
    "╮": (DOWN, LEFT),
    "╰": (UP, RIGHT),
    "╯": (UP, LEFT),
    "├": (UP, DOWN, RIGHT),
    "┤": (UP, DOWN, LEFT),
    "┬": (DOWN, LEFT, RIGHT),
    "┴": (UP, LEFT, RIGHT),
    "┼": (UP, DOWN, LEFT, RIGHT),
}


def box_at(lines: list[str], y: int, x: int) -> str:
    """The name in the box whose text is in line y, around column x."""
    left = lines[y].rindex("│ ", 0, x + 1)
    return lines[y][left + 2 :].split()[0]


def corners(lines: list[str], y: int, x: int) -> str:
    """The character at which the border begins that goes through a place."""
    while lines[y][x] in "─┬┴":
        x -= 1
    return lines[y][x]


def reached(lines: list[str], y: int, x: int) -> set[str]:
    """The boxes that a line leads to, from where it leaves a box, as an eye would follow it."""
    found, seen, todo = set(), set(), [(y + 1, x, DOWN)]
    while todo:
        y, x, way = todo.pop()
        if (y, x, way) in seen:
            continue
        seen.add((y, x, way))
        character = lines[y][x]
        back = (-way[0], -way[1])
        if way == DOWN and character == "┴" and corners(lines, y, x) == "┌":
            found.add(box_at(lines, y + 1, x))
            continue
        if way == UP and character == "┬" and corners(lines, y, x) == "└":
            continue  # another box leads here, too
        if back not in LEADS[character]:
            assert character == "│", (y, x, character)  # one that crosses
            todo.append((y + way[0], x + way[1], way))
            continue
        todo += [(y + dy, x + dx, (dy, dx)) for dy, dx in LEADS[character] if (dy, dx) != back]
    return found


def exits(lines: list[str], name: str) -> list[tuple[int, int]]:
    """Where lines leave a box, at its lower border."""
    y = next(at for at, line in enumerate(lines) if f"│ {name} " in line)
    left = lines[y].index(f"│ {name} ")
    right = lines[y].index("│", left + 1)
    return [(y + 1, x) for x in range(left, right) if lines[y + 1][x] == "┬"]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 14))
    graph: Graph = {}
    for number in range(count):
        known = list(graph)
        after = draw(st.lists(st.sampled_from(known), max_size=4, unique=True)) if known else []
        graph[f"n{number}"] = after
    return graph


@settings(max_examples=300, deadline=None)
@given(graphs(), st.sampled_from([40, 60, 80, 200]))
def test_whoever_follows_the_lines_finds_the_graph(graph: Graph, width: int) -> None:
    try:
        lines = drawn(graph, width)
    except TooWide:
        return
    assert max(map(len, lines)) <= width
    padded = [line.ljust(width + 1) for line in lines]
    nets = nets_of(graph)
    for name in graph:
        wanted = [net.sinks for net in nets if name in net.sources]
        found = [reached(padded, *place) for place in exits(padded, name)]
        assert sorted(map(sorted, found)) == sorted(map(sorted, wanted))


@given(graphs())
def test_lines_say_who_comes_before_whom_and_nothing_else(graph: Graph) -> None:
    below: dict[str, set[str]] = {name: set() for name in graph}
    for net in nets_of(graph):
        for source in net.sources:
            below[source] |= net.sinks

    def closure(lines: dict[str, set[str]], name: str) -> set[str]:
        return lines[name].union(*(closure(lines, each) for each in lines[name]))

    wanted: dict[str, set[str]] = {name: set() for name in graph}
    for name, after in graph.items():
        for each in after:
            wanted[each].add(name)
    for name in graph:
        assert closure(below, name) == closure(wanted, name)


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_an_ordinary_graph_fits_into_a_terminal(graph: Graph) -> None:
    assert drawn(graph, 120)


def test_what_has_no_place_is_said() -> None:
    with pytest.raises(TooWide):
        drawn({"a": []}, 5)
