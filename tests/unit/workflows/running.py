"""Runs the templates' steps on a bench, in the order of their definitions, without a mesh."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from muster.agent.testing import Bench

VOID = frozenset(
    "area base br col embed hr img input link meta source track wbr path circle use stop".split()
)


def text_of(path: str | Path) -> str:
    """A file's text."""
    return Path(path).read_text(encoding="utf-8")


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


async def item(bench: Bench, item: Any, out_dir: str) -> Any:
    """The steps of content's item.yaml: what publish answers. Raises `Failed` when rejected."""

    async def step(name: str, **given: Any) -> Any:
        return (await bench.run(f"content.{name}", {"item": item, **given})).output

    draft = await step("draft")
    verdict = await step("review", draft=draft)
    for _ in range(2):
        if verdict["accepted"]:
            break
        draft = await step("draft", previous=draft, remarks=verdict["remarks"])
        verdict = await step("review", draft=draft)
    article = await step("edit", draft=draft, verdict=verdict)
    return await step("publish", article=article, out_dir=out_dir)


class Page(HTMLParser):
    """A page's ids, links and loads; fails where its elements do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names.add(tag)
        if found.get("id"):
            self.ids.append(found["id"] or "")
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        elif tag != "a":
            self.loads += [found[key] or "" for key in ("src", "href", "data") if found.get(key)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open.pop() == tag


def broken_links(folder: Path) -> list[str]:
    """What the links of all pages below a folder do not find there, as "page -> link"."""
    pages = {path.resolve(): Page(path.read_text()) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            anchored = known is None or not parts.fragment or unquote(parts.fragment) in known.ids
            if not target.is_file() or not anchored:
                found.append(f"{path.name} -> {link}")
    return found


async def analysis(bench: Bench, out_dir: str, path: str | None = None, **how: str) -> Any:
    """The steps of analysis' workflow.yaml: what report answers."""

    async def step(name: str, **given: Any) -> Any:
        return (await bench.run(f"analysis.{name}", given)).output

    table = await step("clean", table=await step("load", path=path), **how)
    profiles = [await step("profile", table=table, column=column) for column in table["columns"]]
    statistics = await step("statistics", table=table)
    return await step(
        "report", table=table, profiles=profiles, statistics=statistics, out_dir=out_dir
    )


async def site(bench: Bench, out_dir: str, folder: str | None) -> Any:
    """The steps of site's workflow.yaml: what index and check answer."""

    async def step(name: str, **given: Any) -> Any:
        return (await bench.run(f"site.{name}", given)).output

    found = await step("collect", folder=folder)
    built = [
        await step("build", entry=entry, plan=found["plan"], out_dir=out_dir)
        for entry in found["entries"]
    ]
    check = await step("check", built=built, out_dir=out_dir)
    search = await step("search", built=built, out_dir=out_dir)
    home = {"title": found["title"], "home": found["home"]}
    index = await step("index", **home, built=built, check=check, search=search, out_dir=out_dir)
    return index, check


async def monitoring(bench: Bench, out_dir: str, run: str, **given: Any) -> tuple[Any, Any, Any]:
    """The steps of monitoring's workflow.yaml: what compare and page answer, and alert's run."""

    async def step(name: str, **given: Any) -> Any:
        return (await bench.run(f"monitoring.{name}", given)).output

    found = (await step("targets", **given, out_dir=out_dir))["targets"]
    probes = [await step("probe", target=target, timeout=2.0) for target in found]
    seen = await step("compare", run=run, probes=probes, out_dir=out_dir)
    alerted = None
    if seen["changes"]:
        alerted = await bench.run("monitoring.alert", {"run": run, "changes": seen["changes"]})
    return seen, await step("page", out_dir=out_dir), alerted
