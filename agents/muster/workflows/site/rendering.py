"""Markdown to HTML (CommonMark with tables, by markdown-it-py), and code in colours (by Pygments).

Raw HTML in a page is shown as text and never obeyed: other people's folders can be built too.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.util import ClassNotFound

HEADINGS_IN_CONTENTS: Final = 3  # levels: h1 to h3
_LIGHT: Final = "friendly"
_DARK: Final = "github-dark"

Resolve = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a page, with the id by which links find it."""

    level: int
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page's body, and its headings for a table of contents."""

    body: str
    headings: list[Heading]


def _slug(title: str) -> str:
    """As GitHub makes anchors of headings, for pages are read there too."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") or "section"


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _highlighted})
    parser.enable(["table", "strikethrough"])
    return parser.use(anchors_plugin, max_level=6, slug_func=_slug)


def _highlighted(code: str, language: str, _attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(language.strip())
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))


def _walk(tokens: Iterable[Token]) -> Iterable[Token]:
    for token in tokens:
        yield token
        yield from _walk(token.children or [])


def links_of(text: str) -> list[str]:
    """What a page of Markdown links to and shows, each once, in order."""
    found: dict[str, None] = {}
    for token in _walk(_markdown().parse(text)):
        address = token.attrGet("href") or token.attrGet("src")
        if isinstance(address, str):
            found[address] = None
    return list(found)


def title_of(text: str) -> str:
    """A page's first heading, as plain text; "" where it has none."""
    tokens = _markdown().parse(text)
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            return _plain(tokens[place + 1])
    return ""


def _plain(inline: Token) -> str:
    return "".join(
        token.content for token in inline.children or [] if token.type in ("text", "code_inline")
    )


def render_page(text: str, resolve: Resolve) -> Rendered:
    """A page of Markdown as HTML. `resolve` says where each of its addresses leads."""
    parser, env = _markdown(), dict[str, Any]()
    tokens = parser.parse(text, env)
    headings = []
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            plain = _plain(tokens[place + 1])
            headings.append(Heading(int(token.tag[1]), str(token.attrGet("id")), plain))
    for token in _walk(tokens):
        for name in ("href", "src"):
            address = token.attrGet(name)
            if isinstance(address, str):
                token.attrSet(name, resolve(address))
    return Rendered(parser.renderer.render(tokens, parser.options, env), headings)


def render_listing(code: str, path: str) -> str:
    """A source file as HTML, with an anchor for each line: #L12."""
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    lines = str(highlight(code, lexer, HtmlFormatter(nowrap=True))).rstrip("\n").split("\n")
    numbered = (
        f'<span id="L{number}" class="line"><a href="#L{number}">{number}</a>{line}\n</span>'
        for number, line in enumerate(lines, 1)
    )
    return f'<pre class="listing"><code>{"".join(numbered)}</code></pre>'


def resolver(url: str, path: str, routes: Mapping[str, str], target: Any) -> Resolve:
    """For the page at `url`, made of `path`: where an address of its source leads in the site.

    `routes` are the urls by path; `target` finds the path that an address names. What is not in the
    site stays as it is, for the check to find.
    """

    def resolve(address: str) -> str:
        found = routes.get(target(path, address) or "")
        if found is None:
            return address
        fragment = urlsplit(address).fragment
        return relative(url, found) + (f"#{fragment}" if fragment else "")

    return resolve


def relative(from_url: str, to_url: str) -> str:
    """The address by which one page of the site names another."""
    return quote(posixpath.relpath(to_url, posixpath.dirname(from_url) or "."))


@cache
def code_style() -> str:
    """The CSS of code in colours, light and dark."""
    light, dark = _style_of(_LIGHT), _style_of(_DARK)
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _style_of(name: str) -> str:
    """A style's rules but for the block itself and its line numbers: the page has its own."""
    css = HtmlFormatter(style=name).get_style_defs("pre code")  # type: ignore[no-untyped-call]
    return "\n".join(line for line in css.splitlines() if re.match(r"pre code \.[a-z0-9]+ ", line))
