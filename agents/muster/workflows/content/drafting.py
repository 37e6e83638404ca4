"""Writes a draft by choosing sentences of its source.

Sentences are ranked by TextRank (Mihalcea and Tarau 2004): each is a node of a graph, whose edges
weigh what two sentences have in common, and PageRank (by rustworkx) says which of them speak for
the others. Sentences near the beginning, where a text says what it is about, weigh more. A first
draft takes the best; a redraft answers the reviewer's remarks one by one.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from muster.workflows.content import reviewing
from muster.workflows.content.language import reading_ease, stem, stems, words
from muster.workflows.content.shapes import Cited, Draft, Remark, Sentence, Source

WORDS_FIRST: Final = 130  # a first draft is about this long
DAMPING: Final = 0.85

Ranks = dict[int, float]
Usable = Callable[[Sentence], bool]


def first_draft(source: Source) -> Draft:
    """The sentences that speak for the others, up to `WORDS_FIRST` words."""
    ranks = textrank(source.sentences)
    chosen = _fill([], source.sentences, ranks, WORDS_FIRST, lambda _: True)
    return _draft(source, 1, chosen)


def redraft(source: Source, terms: Sequence[str], draft: Draft, remarks: Iterable[Remark]) -> Draft:
    """A draft that answers the remarks on the one before it.

    Sentences that are at fault go and do not come back. Missing terms are brought in by the best
    sentences that hold them; a text that is hard to read prefers short sentences; and the rest is
    filled up to the length that is wanted.
    """
    by_criterion = {remark.criterion: remark for remark in remarks}
    at_fault = {number for remark in by_criterion.values() for number in remark.sentences}
    kept = {cited.number for cited in draft.sentences} - at_fault
    chosen = [sentence for sentence in source.sentences if sentence.number in kept]
    while chosen and reviewing.points_back(chosen[0].text):
        chosen = chosen[1:]
    ranks = textrank(source.sentences)
    if reviewing.READABILITY in by_criterion:
        ranks = {each.number: ranks[each.number] * _ease(each.text) for each in source.sentences}

    def usable(sentence: Sentence) -> bool:
        taken = sentence.number in at_fault or _repeats(sentence, chosen)
        return not taken and not reviewing.points_back(sentence.text)

    coverage = by_criterion.get(reviewing.COVERAGE)
    if coverage is not None:
        chosen = _covering(coverage.terms, chosen, source.sentences, ranks, usable)
    size = min(max(_length(chosen), WORDS_FIRST), reviewing.WORDS_MAX - 20)
    chosen = _fill(_shortened(chosen, terms, ranks, size), source.sentences, ranks, size, usable)
    return _draft(source, draft.round + 1, chosen)


def textrank(sentences: Sequence[Sentence]) -> Ranks:
    """The weight of each sentence by its number; together they are 1."""
    import rustworkx

    graph: rustworkx.PyGraph[int, float] = rustworkx.PyGraph()
    graph.add_nodes_from([sentence.number for sentence in sentences])
    spoken = [frozenset(stems(sentence.text)) for sentence in sentences]
    graph.add_edges_from(
        [
            (left, right, weight)
            for left in range(len(sentences))
            for right in range(left)
            if (weight := common(spoken[left], spoken[right])) > 0
        ]
    )
    both_ways = graph.to_directed()
    ranks = rustworkx.pagerank(
        both_ways,
        alpha=DAMPING,
        weight_fn=float,
        personalization={index: 1 / (2 + index) for index in range(len(sentences))},
        max_iter=1_000,
    )
    return {sentence.number: ranks[index] for index, sentence in enumerate(sentences)}


def common(left: frozenset[str], right: frozenset[str]) -> float:
    """TextRank's measure: shared stems, by the logarithms of how many there are in each."""
    shared = len(left & right)
    if not shared:
        return 0.0
    return shared / (math.log(1 + len(left)) + math.log(1 + len(right)))


def _fill(
    chosen: list[Sentence], sentences: Sequence[Sentence], ranks: Ranks, size: int, usable: Usable
) -> list[Sentence]:
    """Adds the best sentences until there are `size` words, or none is left that fits."""
    for sentence in sorted(sentences, key=lambda each: (-ranks[each.number], each.number)):
        room = reviewing.WORDS_MAX - _length(chosen)
        fits = len(words(sentence.text)) <= room and sentence not in chosen
        if _length(chosen) >= size:
            break
        if fits and usable(sentence):
            chosen.append(sentence)
    return chosen


def _covering(
    missing: Iterable[str],
    chosen: list[Sentence],
    sentences: Sequence[Sentence],
    ranks: Ranks,
    usable: Usable,
) -> list[Sentence]:
    """Adds the sentences that bring in the most missing terms, the better ranked first."""
    wanted = {stem(term) for term in missing}
    while wanted:
        best = max(
            (each for each in sentences if each not in chosen and usable(each)),
            key=lambda each: (len(wanted & {*stems(each.text)}), ranks[each.number]),
            default=None,
        )
        brought = wanted & {*stems(best.text)} if best else set()
        if best is None or not brought:
            break
        chosen.append(best)
        wanted -= brought
    return chosen


def _shortened(
    chosen: list[Sentence], terms: Sequence[str], ranks: Ranks, size: int
) -> list[Sentence]:
    """Takes out what ranks lowest and no term needs, until about `size` words are left."""
    for sentence in sorted(chosen, key=lambda each: ranks[each.number]):
        rest = [each for each in chosen if each is not sentence]
        if _length(chosen) <= size:
            break
        if reviewing.covered(_texts(rest), terms) >= min(
            reviewing.COVERAGE_MIN, reviewing.covered(_texts(chosen), terms)
        ):
            chosen = rest
    return chosen


def _ease(text: str) -> float:
    """A factor from 0.05 to 1 by how easily a sentence is read."""
    return min(max((reading_ease([text]) + 20) / 100, 0.05), 1.0)


def _repeats(sentence: Sentence, chosen: Sequence[Sentence]) -> bool:
    return any(
        reviewing.likeness(sentence.text, other.text) > reviewing.SIMILARITY_MAX for other in chosen
    )


def _length(sentences: Iterable[Sentence]) -> int:
    return sum(len(words(sentence.text)) for sentence in sentences)


def _texts(sentences: Iterable[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


def _draft(source: Source, number: int, chosen: Iterable[Sentence]) -> Draft:
    ordered = sorted(chosen, key=lambda sentence: sentence.number)
    return Draft(source.slug, number, [Cited(each.text, each.number) for each in ordered])
