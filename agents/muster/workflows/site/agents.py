"""The agents of the template: collectors, builders, checkers, publishers.

The folder is read by one step only; pages travel as blobs. Every step may run twice.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from muster.agent import Agent, Blob, Failed, SyncContext
from muster.workflows.files import folder_of, write
from muster.workflows.pages import render
from muster.workflows.site import checking, collecting, rendering
from muster.workflows.site.shapes import (
    Built,
    Check,
    Entry,
    Search,
    Site,
    SiteIndex,
)

collector = Agent("site-collector", kind="site-collector")
builder = Agent("site-builder", kind="site-builder")
checker = Agent("site-checker", kind="site-checker")
publisher = Agent("site-publisher", kind="site-publisher")

JSON = "application/vnd.muster.site+json"
EXCERPT_CHARS_MAX = 200
HOME = "index.html"


@collector.capability("site.collect", idempotent=True)
def collect(folder: str | None = None, title: str | None = None, *, ctx: SyncContext) -> Site:
    """Finds the Markdown below a folder and what it links to.

    Without a folder, what installed packages say about themselves.
    """
    try:
        if folder is None:
            found, name = collecting.of_installed(), "Installed packages"
        else:
            root = Path(folder).expanduser()
            found = collecting.of_folder(root)
            name = next((each.title for each in found if each.path == "README.md"), root.name)
    except collecting.FolderError as error:
        raise Failed("FOLDER", str(error), permanent=True) from None
    entries = []
    for number, each in enumerate(found, 1):
        blob = ctx.blobs.put(each.content, "application/octet-stream")
        entries.append(Entry(each.kind, each.path, each.url, each.title, blob))
        ctx.progress(number / len(found), each.path)
    # A page may be called so itself.
    home = "site.html" if any(entry.url == HOME for entry in entries) else HOME
    plan = {
        "home": home,
        "title": title or name,
        "pages": [{"title": e.title, "url": e.url} for e in entries if e.kind == "page"],
        "routes": {entry.path: entry.url for entry in entries},
    }
    return Site(title or name, home, entries, ctx.blobs.put(_json(plan), JSON))


@builder.capability("site.build", idempotent=True)
def build(entry: Entry, plan: Blob, out_dir: str, *, ctx: SyncContext) -> Built:
    """Writes one file of the site."""
    content = ctx.blobs.get(entry.source)
    target = folder_of(out_dir) / entry.url
    if entry.kind == "asset":
        write(target, content)
        empty = ctx.blobs.put(_json(asdict(checking.Facts([], [], []))), JSON)
        return Built(entry.kind, entry.path, entry.url, entry.title, 0, empty)
    page = _page(entry, content.decode("utf-8", "replace"), json.loads(ctx.blobs.get(plan)))
    write(target, page)
    facts = checking.facts_of(page)
    words = sum(len(section.text.split()) for section in facts.sections)
    blob = ctx.blobs.put(_json(asdict(facts)), JSON)
    return Built(entry.kind, entry.path, entry.url, entry.title, words, blob)


def _page(entry: Entry, text: str, plan: dict[str, Any]) -> str:
    routes = plan["routes"]
    if entry.kind == "page":
        resolve = rendering.resolver(entry.url, entry.path, routes, collecting.target_of)
        made = rendering.render_page(text, resolve)
        body, headings = made.body, made.headings
    elif entry.kind == "listing":
        body, headings = rendering.render_listing(text, entry.path), []
    else:
        body, headings = _folder_body(entry, text, routes), []
    urls = [page["url"] for page in plan["pages"]]
    place = urls.index(entry.url) if entry.url in urls else None
    return render(
        "site/page.html",
        entry=entry,
        site=plan["title"],
        home=plan["home"],
        pages=plan["pages"],
        previous=plan["pages"][place - 1] if place else None,
        following=plan["pages"][place + 1] if place is not None and place + 1 < len(urls) else None,
        body=body,
        headings=[h for h in headings if h.level <= rendering.HEADINGS_IN_CONTENTS],
        to=lambda url: rendering.relative(entry.url, url),
        root=posixpath.relpath(".", posixpath.dirname(entry.url) or "."),
        code_style=rendering.code_style(),
    )


def _folder_body(entry: Entry, text: str, routes: dict[str, str]) -> str:
    """What is in a folder: links to what the site has of it."""
    readme, *names = text.split("\n")
    shown = []
    for name in names:
        url = routes.get(posixpath.normpath(posixpath.join(entry.path, name)))
        shown.append({"name": name, "url": rendering.relative(entry.url, url) if url else None})
    first = routes.get(posixpath.normpath(posixpath.join(entry.path, readme))) if readme else None
    return render(
        "site/folder.html",
        title=entry.title,
        readme=rendering.relative(entry.url, first) if first else None,
        names=shown,
    )


@checker.capability("site.check", idempotent=True)
def check(built: list[Built], out_dir: str, *, ctx: SyncContext) -> Check:
    """Follows every link within the site, and lists those that lead elsewhere."""
    # Of a listing and an image only that they are there: what they say are nobody's links.
    pages = {each.url: _facts(each, ctx) for each in built if each.kind in ("page", "folder")}
    found = checking.check(pages, [each.url for each in built if each.url not in pages])
    text = json.dumps(asdict(found), indent=1, ensure_ascii=False, sort_keys=True)
    write(folder_of(out_dir) / "links.json", text + "\n")
    return found


@publisher.capability("site.search", idempotent=True)
def search(built: list[Built], out_dir: str, *, ctx: SyncContext) -> Search:
    """Writes what the pages' search looks through. It is a script, since a page that was opened
    from the disk may load no other data."""
    pages = {each.url: (each.title, _facts(each, ctx)) for each in built if each.kind == "page"}
    entries = list(checking.search_entries(pages))
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    size = write(folder_of(out_dir) / "search.js", f"window.SEARCH={text};\n")
    return Search(len(entries), size)


@publisher.capability("site.index", idempotent=True)
def index(
    title: str,
    home: str,
    built: list[Built],
    check: Check,
    search: Search,
    out_dir: str,
    *,
    ctx: SyncContext,
) -> SiteIndex:
    """Writes the page that leads to all others, and says how the links are."""
    pages = [each for each in built if each.kind == "page"]
    path = folder_of(out_dir) / home
    page = render(
        "site/index.html",
        title=title,
        pages=[{"page": each, "excerpt": _excerpt(each, ctx)} for each in pages],
        kinds=Counter(each.kind for each in built),
        words=sum(each.words for each in pages),
        check=check,
        search=search,
        to=lambda url: rendering.relative(home, url),
    )
    write(path, page)
    return SiteIndex(str(path), len(pages), len(check.broken))


def _excerpt(built: Built, ctx: SyncContext) -> str:
    first = _facts(built, ctx).lead
    if len(first) <= EXCERPT_CHARS_MAX:
        return first
    return first[:EXCERPT_CHARS_MAX].rpartition(" ")[0] + " …"


def _facts(built: Built, ctx: SyncContext) -> checking.Facts:
    found = json.loads(ctx.blobs.get(built.facts))
    sections = [checking.Section(**section) for section in found["sections"]]
    return checking.Facts(found["ids"], found["links"], sections, found["lead"])


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()
