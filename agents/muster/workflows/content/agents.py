"""The agents of the template: planner, writers, reviewers, editors, publishers.

Whatever is larger than a few hundred bytes travels as a blob: a source, an article. Every step may
run twice: it answers the same, and writes the same files.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TypeVar

from muster.agent import Agent, Blob, Failed, SyncContext
from muster.workflows.content import drafting, editing, planning, reviewing, sources
from muster.workflows.content.shapes import (
    Article,
    Cited,
    Draft,
    Figures,
    Index,
    Item,
    Plan,
    Published,
    Remark,
    Sentence,
    Source,
    Verdict,
)
from muster.workflows.files import folder_of, write

T = TypeVar("T")

planner = Agent("content-planner", kind="content-planner")
writer = Agent("content-writer", kind="content-writer")
reviewer = Agent("content-reviewer", kind="content-reviewer")
editor = Agent("content-editor", kind="content-editor")
publisher = Agent("content-publisher", kind="content-publisher")

TOPICS_DEFAULT = 100
TOPICS_MAX = 1_000


@planner.capability("content.plan", idempotent=True)
def plan(
    texts: list[sources.Text] | None = None,
    topics: list[str] | None = None,
    count: int = TOPICS_DEFAULT,
    *,
    ctx: SyncContext,
) -> Plan:
    """Cuts texts into sentences, and finds each one's key terms.

    Without texts, the `count` that come with Python; of these, or of those given, only the `topics`
    named, if any are.
    """
    found = _chosen(texts, topics, count)
    cut = planning.cut(found)
    items, left_out = [], []
    for number, (source, terms) in enumerate(zip(cut, planning.key_terms(cut), strict=True), 1):
        if len(source.sentences) < planning.SOURCE_SENTENCES_MIN:
            left_out.append(source.title)
            continue
        words = sum(len(sentence.text.split()) for sentence in source.sentences)
        blob = ctx.blobs.put(_bytes(source), "application/json")
        items.append(Item(source.slug, source.title, source.origin, words, terms, blob))
        ctx.progress(number / len(cut), source.title)
    if not items:
        message = "none of the texts has enough sentences of prose to choose from"
        raise Failed("NO_TOPICS", message, permanent=True)
    return Plan(items, left_out)


def _chosen(
    texts: list[sources.Text] | None, topics: list[str] | None, count: int
) -> list[sources.Text]:
    if not 1 <= count <= TOPICS_MAX:
        raise Failed("COUNT", f"count is {count}, and must be 1 to {TOPICS_MAX}", permanent=True)
    found = texts if texts else sources.python_texts(count, planning.is_enough)
    if not topics:
        return found[:count]
    by_title = {text.title.lower(): text for text in found}
    unknown = [topic for topic in topics if topic.lower() not in by_title]
    if unknown:
        message = f"there is no text called {', '.join(unknown[:5])}; there are: "
        raise Failed(
            "UNKNOWN_TOPIC", message + ", ".join(sorted(by_title)[:20]) + " …", permanent=True
        )
    return [by_title[topic.lower()] for topic in topics]


@writer.capability("content.draft", idempotent=True)
def draft(
    item: Item,
    previous: Draft | None = None,
    remarks: list[Remark] | None = None,
    *,
    ctx: SyncContext,
) -> Draft:
    """Chooses sentences for an article; given a draft and remarks, answers the remarks."""
    source = _source(item, ctx)
    if previous is None:
        return drafting.first_draft(source)
    return drafting.redraft(source, item.terms, previous, remarks or [])


@reviewer.capability("content.review", idempotent=True)
def review(item: Item, draft: Draft, *, ctx: SyncContext) -> Verdict:
    """Measures a draft, and accepts it or says what is wrong with it."""
    return reviewing.review(_source(item, ctx), item.terms, draft)


@editor.capability("content.edit", idempotent=True)
def edit(item: Item, draft: Draft, verdict: Verdict, *, ctx: SyncContext) -> Blob:
    """Makes an article of an accepted draft; fails for good when it is not accepted."""
    if not verdict.accepted:
        why = " ".join(remark.text for remark in verdict.remarks)
        message = f"“{item.title}” is rejected in round {verdict.round}: {why}"
        details = [asdict(remark) for remark in verdict.remarks]
        raise Failed("REJECTED", message, permanent=True, details=details)
    article = editing.edit(item, _source(item, ctx), draft, verdict)
    return ctx.blobs.put(_bytes(article), "application/vnd.muster.article+json")


@publisher.capability("content.publish", idempotent=True)
def publish(item: Item, article: Blob, out_dir: str, *, ctx: SyncContext) -> Published:
    """Writes an article as Markdown, and its source as the page that the article cites."""
    folder = folder_of(out_dir)
    edited = _article(article, ctx)
    markdown, source = editing.markdown_path(item.slug), editing.source_path(item.slug)
    write(folder / source, editing.source_page(_source(item, ctx), edited))
    write(folder / markdown, editing.markdown(edited))
    return Published(item.slug, item.title, edited.rounds, markdown, source, article)


@publisher.capability("content.unpublish", idempotent=True)
def unpublish(item: Item, out_dir: str) -> bool:
    """Takes an article's files away again; whether there were any."""
    folder = folder_of(out_dir)
    files = [folder / place(item.slug) for place in (editing.markdown_path, editing.source_path)]
    there = any(file.exists() for file in files)
    for file in files:
        file.unlink(missing_ok=True)
    return there


@publisher.capability("content.index", idempotent=True)
def index(
    items: list[Item], published: list[Published], out_dir: str, *, ctx: SyncContext
) -> Index:
    """Writes the page that holds all the articles."""
    articles = [_article(each.article, ctx) for each in published]
    path = folder_of(out_dir) / editing.INDEX
    write(path, editing.index_page(items, articles))
    return Index(str(path), len(articles), len(items) - len(articles))


def _source(item: Item, ctx: SyncContext) -> Source:
    found = json.loads(ctx.blobs.get(item.source))
    return Source(**{**found, "sentences": [Sentence(**each) for each in found["sentences"]]})


def _article(blob: Blob, ctx: SyncContext) -> Article:
    found = json.loads(ctx.blobs.get(blob))
    paragraphs = [[Cited(**cited) for cited in paragraph] for paragraph in found["paragraphs"]]
    return Article(**{**found, "figures": Figures(**found["figures"]), "paragraphs": paragraphs})


def _bytes(value: Any) -> bytes:
    return json.dumps(asdict(value), ensure_ascii=False, sort_keys=True).encode()
