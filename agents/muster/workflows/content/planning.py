"""Cuts texts into sentences, and finds what is special about each among all of them."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from muster.workflows.content.language import STOP_WORDS, paragraphs, sentences, stem, words
from muster.workflows.content.shapes import Sentence, Source
from muster.workflows.content.sources import Text
from muster.workflows.files import slug_of

TERMS: Final = 8
SOURCE_SENTENCES_MIN: Final = 6  # with fewer there is nothing to choose
SOURCE_SENTENCES_MAX: Final = 600  # the similarity of all pairs is measured


def is_enough(text: Text) -> bool:
    """Whether a text has enough sentences of prose to choose from."""
    return len(list(islice(_numbered(text.text), SOURCE_SENTENCES_MIN))) == SOURCE_SENTENCES_MIN


def cut(texts: Sequence[Text]) -> list[Source]:
    """Each text as a source, under a slug of its own."""
    slugs: Counter[str] = Counter()
    found = []
    for text in texts:
        slug = slug_of(text.title)
        slugs[slug] += 1
        name = slug if slugs[slug] == 1 else f"{slug}-{slugs[slug]}"
        found.append(Source(name, text.title, text.origin, list(_numbered(text.text))))
    return found


def _numbered(text: str) -> Iterator[Sentence]:
    known: set[str] = set()
    for index, paragraph in enumerate(paragraphs(text), 1):
        for sentence in sentences(paragraph):
            if sentence not in known:
                known.add(sentence)
                yield Sentence(len(known), index, sentence)
            if len(known) == SOURCE_SENTENCES_MAX:
                return


def key_terms(sources: Sequence[Source], count: int = TERMS) -> list[list[str]]:
    """For each source the words with the most weight: often there, and in few others (tf-idf).

    A term is given in the form in which it is most frequent.
    """
    spoken = [_counted(source) for source in sources]
    frequency = Counter(stemmed for forms in spoken for stemmed in forms)

    def weight(stemmed: str, counts: Counter[str]) -> float:
        rarity = math.log(1 + len(sources) / frequency[stemmed])
        return (1 + math.log(counts.total())) * rarity

    found = []
    for forms in spoken:
        weights = {
            stemmed: weight(stemmed, counts)
            for stemmed, counts in forms.items()
            if counts.total() > 1
        }
        best = sorted(weights, key=lambda stemmed: (-weights[stemmed], stemmed))[:count]
        found.append([_most_frequent(forms[stemmed]) for stemmed in best])
    return found


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda form: (-counts[form], form))


def _counted(source: Source) -> dict[str, Counter[str]]:
    """How often each form of each stem occurs."""
    forms: dict[str, Counter[str]] = {}
    for sentence in source.sentences:
        for word in words(sentence.text):
            if word not in STOP_WORDS and len(word) > 2:
                forms.setdefault(stem(word), Counter())[word] += 1
    return forms
