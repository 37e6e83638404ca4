"""What a written page offers and asks for, and whether what is asked for is there."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from posixpath import dirname, join, normpath
from typing import Final
from urllib.parse import unquote, urlsplit

from muster.workflows.site.shapes import Broken, Check, External

SECTION_CHARS_MAX: Final = 4_000  # of the text that a search looks through
_HEADINGS: Final = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_VOID: Final = frozenset(("meta", "br", "hr", "img", "input", "link"))


@dataclass(frozen=True, slots=True)
class Section:
    """A heading's part of a page."""

    id: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """A page's ids, the addresses that its content links to or shows, its sections, and the text of
    its first paragraph."""

    ids: list[str]
    links: list[str]
    sections: list[Section]
    lead: str = ""


class _Reader(HTMLParser):
    """Reads a page; links and text count within <article> only, for navigation is everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: dict[str, None] = {}
        self.sections: list[tuple[str, list[str], list[str]]] = []
        self.lead: list[str] = []
        self._open: list[str] = []
        self._in_lead = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag not in _VOID:
            self._open.append(tag)
        if named.get("id"):
            self.ids.append(named["id"] or "")
        if "article" not in self._open:
            return
        address = named.get("href") if tag == "a" else named.get("src")
        if address is not None:
            self.links[address] = None
        if tag == "p" and not self.lead:
            self._in_lead = True
        if tag in _HEADINGS:
            self.sections.append((named.get("id") or "", [], []))

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self._in_lead = False
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "article" not in self._open:
            return
        if not self.sections:
            self.sections.append(("", [], []))
        if self._in_lead:
            self.lead.append(data)
        _, heading, text = self.sections[-1]
        (heading if _HEADINGS & {*self._open} else text).append(data)


def facts_of(page: str) -> Facts:
    """What a page of HTML offers and asks for."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    sections = [
        Section(anchor, _one_line(heading), _one_line(text)[:SECTION_CHARS_MAX])
        for anchor, heading, text in reader.sections
    ]
    return Facts(reader.ids, list(reader.links), sections, _one_line(reader.lead))


def _one_line(parts: Iterable[str]) -> str:
    return " ".join("".join(parts).split())


def check(pages: Mapping[str, Facts], others: Iterable[str]) -> Check:
    """Follows every link of the pages, given by url; `others` are the urls of what is no page."""
    known = {*pages, *others}
    internal, broken = 0, []
    external: dict[str, list[str]] = {}
    for url in sorted(pages):
        for link in pages[url].links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                external.setdefault(link, []).append(url)
                continue
            internal += 1
            why = _why_broken(url, link, pages, known)
            if why:
                broken.append(Broken(url, link, why))
    return Check(internal, broken, [External(*each) for each in sorted(external.items())])


def _why_broken(url: str, link: str, pages: Mapping[str, Facts], known: set[str]) -> str:
    parts = urlsplit(link)
    target = normpath(join(dirname(url), unquote(parts.path))) if parts.path else url
    if target not in known:
        return "outside the site" if target.startswith("..") else "there is no such page"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].ids:
        return f"{target} has no anchor {anchor}"
    return ""


def search_entries(pages: Mapping[str, tuple[str, Facts]]) -> Iterator[dict[str, str]]:
    """What a search looks through: sections with the page's title `t`, url `u`, heading `h`, text
    `x`. `pages` are title and facts by url."""
    for url, (title, facts) in sorted(pages.items()):
        for section in facts.sections:
            if section.heading or section.text:
                place = f"{url}#{section.id}" if section.id else url
                yield {"t": title, "u": place, "h": section.heading, "x": section.text}
