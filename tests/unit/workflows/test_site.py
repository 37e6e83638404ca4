"""A site from Markdown: what becomes a page, where links lead, and which are broken."""

import json
from pathlib import Path
from typing import Any

import pytest

from muster.agent.testing import Bench
from muster.workflows.site import agents as building
from muster.workflows.site import checking, collecting, rendering
from tests.unit.workflows.running import Page, broken_links, files_in, site, text_of

README = """# The *house* `x`

Welcome. See [the garden](docs/garden.md#the-old-tree), [the code](src/door.py), [all](src),
[nobody](docs/nobody.md), [a tree](docs/garden.md#no-such-tree), [up](../secret.md),
[home](https://example.org/a?b=1&c=2) and [here](#the-house-x).

<script>alert(1)</script>

| a | b |
|---|---|
| 1 | 2 |

![a picture](docs/picture.svg)
"""

GARDEN = """# Garden

## The old tree

Back to [the house](../README.md).

```python
print("<shade>")
```
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "house"
    for path, text in {
        "README.md": README,
        "docs/garden.md": GARDEN,
        "docs/picture.svg": "<svg xmlns='http://www.w3.org/2000/svg'></svg>",
        "src/door.py": "def open() -> bool:\n    return True\n",
        "src/key.bin": "\0\1",
        ".hidden/secret.md": "# Hidden",
        "node_modules/x/README.md": "# Not ours",
    }.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (tmp_path / "secret.md").write_text("# Secret")
    return root


def test_pages_and_what_they_link_to_are_found_and_nothing_else(folder: Path):
    found = {each.path: (each.kind, each.url) for each in collecting.of_folder(folder)}
    assert found == {
        "README.md": ("page", "README.html"),
        "docs/garden.md": ("page", "docs/garden.html"),
        "docs/picture.svg": ("asset", "docs/picture.svg"),
        "src/door.py": ("listing", "src/door.py.html"),
        "src": ("folder", "src/folder.html"),
    }


def test_what_a_link_points_at_outside_the_folder_is_never_read(folder: Path):
    (folder / "leak.py").symlink_to(folder.parent / "secret.md")
    (folder / "page.md").write_text("[a](leak.py) [b](../secret.md) [c](/../secret.md) [d](%00)")
    assert not [each for each in collecting.of_folder(folder) if "secret" in str(each.content)[:9]]
    assert "leak.py" not in {each.path for each in collecting.of_folder(folder)}


@pytest.mark.parametrize(
    ("page", "link", "target"),
    [
        ("a/b.md", "c.md", "a/c.md"),
        ("a/b.md", "../c.md#x", "c.md"),
        ("a/b.md", "/c%20d.md", "c d.md"),
        ("a/b.md", "../../c.md", None),
        ("a/b.md", "https://c/d.md", None),
        ("a/b.md", "//c/d.md", None),
        ("a/b.md", "#here", None),
        ("b.md", ".", "."),
    ],
)
def test_a_link_names_a_path_within_the_folder_or_none(page: str, link: str, target: str | None):
    assert collecting.target_of(page, link) == target


def test_a_folder_without_markdown_is_refused(tmp_path: Path):
    with pytest.raises(collecting.FolderError, match="no Markdown"):
        collecting.of_folder(tmp_path)
    with pytest.raises(collecting.FolderError, match="no folder"):
        collecting.of_folder(tmp_path / "none")


def test_raw_html_is_shown_and_not_obeyed():
    made = rendering.render_page(README, lambda address: address)
    assert "<script>" not in made.body
    assert "&lt;script&gt;" in made.body
    assert [heading.id for heading in made.headings] == ["the-house-x"]
    assert "javascript:" not in rendering.render_page("[x](javascript:alert(1))", str).body.replace(
        "[x](javascript:alert(1))", ""
    )


def test_a_title_is_the_first_heading_without_its_marks():
    assert rendering.title_of(README) == "The house x"
    assert rendering.title_of("no heading") == ""


def test_a_listing_has_an_anchor_for_each_line():
    text = rendering.render_listing("a = '<b>'\n\nc = 1\n", "x.py")
    page = Page(text)
    assert page.ids == ["L1", "L2", "L3"]
    assert "&lt;b&gt;" in text
    assert Page(rendering.render_listing("?", "x.unknown")).ids == ["L1"]


def facts(*ids: str, links: tuple[str, ...] = ()) -> checking.Facts:
    return checking.Facts(list(ids), list(links), [])


def test_links_are_followed_to_the_anchor():
    links = ("b.html", "b.html#one", "b.html#two", "c.html", "#top", "#no", "i.png", "../x.html")
    pages = {
        "d/a.html": facts("top", links=(*links, "https://e.org", "mailto:a@b.org")),
        "d/b.html": facts("one", links=("https://e.org",)),
    }
    found = checking.check(pages, ["d/i.png"])
    assert found.internal == len(links)
    assert [(each.link, each.why) for each in found.broken] == [
        ("b.html#two", "d/b.html has no anchor two"),
        ("c.html", "there is no such page"),
        ("#no", "d/a.html has no anchor no"),
        ("../x.html", "there is no such page"),
    ]
    assert [(each.address, each.pages) for each in found.external] == [
        ("https://e.org", ["d/a.html", "d/b.html"]),
        ("mailto:a@b.org", ["d/a.html"]),
    ]


def test_a_page_s_sections_are_what_a_search_finds():
    text = "<nav>no</nav><article><h1 id=t>T</h1><p>one &amp; two</p><h2 id=u>U</h2>x</article>"
    found = checking.facts_of(text)
    assert found.lead == "one & two"
    entries = list(checking.search_entries({"p.html": ("Page", found)}))
    assert entries == [
        {"t": "Page", "u": "p.html#t", "h": "T", "x": "one & two"},
        {"t": "Page", "u": "p.html#u", "h": "U", "x": "x"},
    ]


# --- the agents -----------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    return Bench(building.collector, building.builder, building.checker, building.publisher)


def searched(folder: Path) -> list[dict[str, Any]]:
    text = text_of(folder / "search.js")
    found: list[dict[str, Any]] = json.loads(text.removeprefix("window.SEARCH=").rstrip(";\n"))
    return found


async def test_a_folder_becomes_a_site_and_its_broken_links_are_named(
    bench: Bench, folder: Path, tmp_path: Path
):
    out = tmp_path / "built" / "out"
    index, check = await site(bench, str(out), str(folder))
    assert {each["link"] for each in check["broken"]} == {
        "docs/nobody.md",
        "docs/garden.html#no-such-tree",
        "../secret.md",
    }
    assert index["broken"] == 3
    assert [each["address"] for each in check["external"]] == ["https://example.org/a?b=1&c=2"]
    assert sorted(files_in(out)) == [
        "README.html",
        "docs/garden.html",
        "docs/picture.svg",
        "index.html",
        "links.json",
        "search.js",
        "src/door.py.html",
        "src/folder.html",
    ]
    # The pages as they lie there say the same as the check, which has never seen them there.
    assert sorted(broken_links(out)) == sorted(
        f"README.html -> {each['link']}" for each in check["broken"]
    )
    assert "docs/garden.html#the-old-tree" in {entry["u"] for entry in searched(out)}
    before = files_in(out)
    await site(bench, str(out), str(folder))
    assert files_in(out) == before


async def test_muster_s_own_documentation_has_no_broken_link(bench: Bench, tmp_path: Path):
    root = Path(__file__).parents[3]
    index, check = await site(bench, str(tmp_path), str(root))
    assert check["broken"] == []
    assert broken_links(tmp_path) == []
    assert index["pages"] >= 8
    assert check["internal"] > 20


async def test_without_a_folder_installed_packages_are_shown(bench: Bench, tmp_path: Path):
    found = (await bench.run("site.collect")).output
    assert {entry["kind"] for entry in found["entries"]} == {"page"}
    assert len(found["entries"]) > 5
    given = {"entry": found["entries"][0], "plan": found["plan"], "out_dir": str(tmp_path)}
    built = (await bench.run("site.build", given)).output
    Page(text_of(tmp_path / built["url"]))
    assert built["words"] > 0


async def test_a_page_that_is_called_index_keeps_its_name(bench: Bench, tmp_path: Path):
    (tmp_path / "index.md").write_text("# Mine")
    index, _ = await site(bench, str(tmp_path / "out"), str(tmp_path))
    assert index["index"].endswith("/site.html")
    assert broken_links(tmp_path / "out") == []
