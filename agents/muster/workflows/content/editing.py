"""Makes an article of an accepted draft, and the files and pages of a run.

The words stay what they are: an editor only groups sentences into paragraphs, and says where each
comes from.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from muster.workflows.content.shapes import Article, Cited, Draft, Item, Source, Verdict
from muster.workflows.pages import render

PARAGRAPH_SENTENCES_MAX: Final = 4
INDEX: Final = "index.html"


def edit(item: Item, source: Source, draft: Draft, verdict: Verdict) -> Article:
    """The article: sentences that stand near each other in the source make a paragraph."""
    return Article(
        slug=item.slug,
        title=item.title,
        origin=item.origin,
        terms=item.terms,
        rounds=draft.round,
        figures=verdict.figures,
        paragraphs=list(_grouped(draft.sentences, source)),
    )


def _grouped(sentences: Sequence[Cited], source: Source) -> Iterator[list[Cited]]:
    paragraph: list[Cited] = []
    place = 0
    for cited in sentences:
        here = source.sentences[cited.number - 1].paragraph
        far = here - place > 2 and len(paragraph) > 1
        if far or len(paragraph) >= PARAGRAPH_SENTENCES_MAX:
            yield paragraph
            paragraph = []
        paragraph.append(cited)
        place = here
    if paragraph:
        yield paragraph


def markdown_path(slug: str) -> str:
    """Where an article's Markdown lies, below the run's folder."""
    return f"articles/{slug}.md"


def source_path(slug: str) -> str:
    """Where an article's source lies, below the run's folder."""
    return f"sources/{slug}.html"


def markdown(article: Article) -> str:
    """The article as Markdown; each sentence ends in a link to its place in the source."""
    figures = article.figures
    lines = [f"# {article.title}", ""]
    for paragraph in article.paragraphs:
        lines += [" ".join(_cited(article.slug, cited) for cited in paragraph), ""]
    lines += [
        "---",
        "",
        f"Every sentence is taken word for word from “{article.title}” ({article.origin}); the "
        f"numbers lead to its place there. Key terms: {', '.join(article.terms)}. "
        f"{figures.words} words, reading ease {figures.reading_ease:g}, "
        f"{figures.coverage:.0%} of the key terms, accepted in round {article.rounds}.",
        "",
    ]
    return "\n".join(lines)


def _cited(slug: str, cited: Cited) -> str:
    return f"{_plain(cited.text)} [[{cited.number}]](../{source_path(slug)}#s{cited.number})"


def _plain(text: str) -> str:
    """The same words where Markdown would read marks in them."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|~&" else char for char in text)


def source_page(source: Source, article: Article) -> str:
    """The source as a page, in which every sentence has an anchor and the chosen ones stand out."""
    chosen = {cited.number for paragraph in article.paragraphs for cited in paragraph}
    paragraphs: dict[int, list[Any]] = {}
    for sentence in source.sentences:
        paragraphs.setdefault(sentence.paragraph, []).append(sentence)
    return render(
        "content/source.html", source=source, paragraphs=paragraphs.values(), chosen=chosen
    )


def index_page(items: Sequence[Item], articles: Iterable[Article]) -> str:
    """The page that holds all articles, and names the topics that have none."""
    shown = sorted(articles, key=lambda article: article.title.lower())
    written = {article.slug for article in shown}
    missing = [item for item in items if item.slug not in written]
    return render(
        "content/index.html",
        articles=[
            {**asdict(article), "source": source_path(article.slug), "lead": _lead(article)}
            for article in shown
        ],
        missing=sorted(missing, key=lambda item: item.title.lower()),
        rounds=[sum(article.rounds == number for article in shown) for number in (1, 2, 3)],
        words=sum(article.figures.words for article in shown),
        sentences=sum(article.figures.sentences for article in shown),
    )


def _lead(article: Article) -> str:
    return article.paragraphs[0][0].text if article.paragraphs else ""
