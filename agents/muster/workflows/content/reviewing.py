"""Measures a draft, and accepts it or says what is wrong: no opinion, only figures.

| criterion | accepted when |
|---|---|
| length | 90 to 220 words |
| coverage | at least 60 % of the topic's key terms occur, in any form |
| readability | Flesch's reading ease is 25 or more |
| repetition | no two sentences share more than half of their words |
| opening | the first sentence refers to nothing that came before it |
| citation | every sentence is, word for word, the one of the source that it cites |
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from muster.workflows.content.language import reading_ease, stem, stems, words
from muster.workflows.content.shapes import Cited, Draft, Figures, Remark, Source, Verdict

WORDS_MIN: Final = 90
WORDS_MAX: Final = 220
COVERAGE_MIN: Final = 0.6
READING_EASE_MIN: Final = 25.0
SIMILARITY_MAX: Final = 0.5

LENGTH: Final = "length"
COVERAGE: Final = "coverage"
READABILITY: Final = "readability"
REPETITION: Final = "repetition"
OPENING: Final = "opening"
CITATION: Final = "citation"

# A first word that points at something before it.
_POINTS_BACK: Final = frozenset(
    """this these that those it they them its their he she such here there so thus hence therefore
    however but and or also then otherwise instead similarly likewise moreover furthermore besides
    additionally conversely note""".split()
)
_HARD_SENTENCES: Final = 2  # as many are named to be replaced


def review(source: Source, terms: Sequence[str], draft: Draft) -> Verdict:
    """The verdict on a draft."""
    texts = [cited.text for cited in draft.sentences]
    wrong = [cited.number for cited in draft.sentences if not _is_verbatim(cited, source)]
    figures = Figures(
        words=sum(len(words(text)) for text in texts),
        sentences=len(texts),
        coverage=round(covered(texts, terms), 3),
        reading_ease=round(reading_ease(texts), 1),
        similarity=round(max((_pair[0] for _pair in _pairs(draft)), default=0.0), 3),
        cited=round(1 - len(wrong) / len(texts), 3) if texts else 0.0,
    )
    remarks = [
        *_on_length(figures),
        *_on_coverage(figures, texts, terms),
        *_on_readability(figures, draft),
        *_on_repetition(figures, draft),
        *_on_opening(draft),
        *_on_citation(figures, wrong),
    ]
    return Verdict(draft.slug, draft.round, not remarks, figures, remarks)


def covered(texts: Sequence[str], terms: Sequence[str]) -> float:
    """The share of the terms that occur in the texts, in any form; 1.0 where there are none."""
    if not terms:
        return 1.0
    spoken = {stemmed for text in texts for stemmed in stems(text)}
    return sum(stem(term) in spoken for term in terms) / len(terms)


def likeness(left: str, right: str) -> float:
    """How much two sentences have in common: shared stems by all stems (Jaccard), 0 to 1."""
    ours, theirs = {*stems(left)}, {*stems(right)}
    return len(ours & theirs) / len(ours | theirs) if ours or theirs else 0.0


def _pairs(draft: Draft) -> Iterator[tuple[float, Cited, Cited]]:
    for left, right in combinations(draft.sentences, 2):
        yield likeness(left.text, right.text), left, right


def _is_verbatim(cited: Cited, source: Source) -> bool:
    in_range = 1 <= cited.number <= len(source.sentences)
    return in_range and source.sentences[cited.number - 1].text == cited.text


def _on_length(figures: Figures) -> Iterator[Remark]:
    if figures.words < WORDS_MIN or figures.words > WORDS_MAX:
        wanted = f"{WORDS_MIN} to {WORDS_MAX} words"
        yield Remark(LENGTH, figures.words, wanted, f"It has {figures.words} words.")


def _on_coverage(figures: Figures, texts: list[str], terms: Sequence[str]) -> Iterator[Remark]:
    if figures.coverage < COVERAGE_MIN:
        missing = [term for term in terms if not covered(texts, [term])]
        yield Remark(
            COVERAGE,
            figures.coverage,
            f"at least {COVERAGE_MIN:.0%} of the key terms",
            f"It says nothing about {', '.join(missing)}.",
            terms=missing,
        )


def _on_readability(figures: Figures, draft: Draft) -> Iterator[Remark]:
    if draft.sentences and figures.reading_ease < READING_EASE_MIN:
        by_ease = sorted(draft.sentences, key=lambda cited: reading_ease([cited.text]))
        hardest = [cited.number for cited in by_ease[:_HARD_SENTENCES]]
        yield Remark(
            READABILITY,
            figures.reading_ease,
            f"a reading ease of {READING_EASE_MIN:g} or more",
            f"It is hard to read, most of all sentence {hardest[0]}.",
            sentences=hardest,
        )


def _on_repetition(figures: Figures, draft: Draft) -> Iterator[Remark]:
    if figures.similarity > SIMILARITY_MAX:
        again = {right.number for alike, _, right in _pairs(draft) if alike > SIMILARITY_MAX}
        yield Remark(
            REPETITION,
            figures.similarity,
            f"no two sentences that share more than {SIMILARITY_MAX:.0%} of their words",
            f"Sentence {min(again)} says again what has been said.",
            sentences=sorted(again),
        )


def points_back(text: str) -> bool:
    """Whether a sentence begins with a word that points at something before it."""
    return words(text)[:1] != [] and words(text)[0] in _POINTS_BACK


def _on_opening(draft: Draft) -> Iterator[Remark]:
    if draft.sentences and points_back(draft.sentences[0].text):
        first = draft.sentences[0]
        yield Remark(
            OPENING,
            0.0,
            "a first sentence that stands alone",
            f"It begins with “{words(first.text)[0]}”, and nothing came before.",
            sentences=[first.number],
        )


def _on_citation(figures: Figures, wrong: list[int]) -> Iterator[Remark]:
    if figures.cited < 1:
        yield Remark(
            CITATION,
            figures.cited,
            "every sentence as its source has it",
            "Some sentences are not what they cite." if wrong else "It cites nothing.",
            sentences=wrong,
        )
