"""What the steps hand to each other; `agents` makes JSON Schemas of it."""

from dataclasses import dataclass, field

from muster.agent.blob import Blob


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a source, with its whitespace made one blank; numbered from 1."""

    number: int
    paragraph: int
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """A text, cut into sentences. What is no prose (code, tables, grammar) is left out."""

    slug: str
    title: str
    origin: str
    sentences: list[Sentence]


@dataclass(frozen=True, slots=True)
class Item:
    """A topic to write about. `terms` are the words that an article on it should use."""

    slug: str
    title: str
    origin: str
    words: int
    terms: list[str]
    source: Blob


@dataclass(frozen=True, slots=True)
class Plan:
    """All the items of a run."""

    items: list[Item]
    left_out: list[str]
    """Titles of texts with too little prose to choose from."""


@dataclass(frozen=True, slots=True)
class Cited:
    """A sentence of a draft: the words, and the number of the sentence in the source."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class Draft:
    """An article's sentences, in the order of the source. `round` counts from 1."""

    slug: str
    round: int
    sentences: list[Cited]


@dataclass(frozen=True, slots=True)
class Remark:
    """What a reviewer holds against a draft: a criterion, what was measured, and what is wanted.

    `terms` are missing words, `sentences` the numbers of the source's sentences that are at fault.
    """

    criterion: str
    measured: float
    wanted: str
    text: str
    terms: list[str] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a draft.

    `coverage` is the share of key terms that occur, `reading_ease` Flesch's score (about 0 hard,
    100 easy), `similarity` that of the two most similar sentences, from 0 to 1.
    """

    words: int
    sentences: int
    coverage: float
    reading_ease: float
    similarity: float
    cited: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A review. There are remarks exactly when the draft is not accepted."""

    slug: str
    round: int
    accepted: bool
    figures: Figures
    remarks: list[Remark]


@dataclass(frozen=True, slots=True)
class Article:
    """An edited article: paragraphs of sentences, ready to publish."""

    slug: str
    title: str
    origin: str
    terms: list[str]
    rounds: int
    figures: Figures
    paragraphs: list[list[Cited]]


@dataclass(frozen=True, slots=True)
class Published:
    """Where an article now lies, below the run's folder; and the article, for the index."""

    slug: str
    title: str
    rounds: int
    markdown: str
    source: str
    article: Blob


@dataclass(frozen=True, slots=True)
class Index:
    """The page that a person opens: `index` is its path."""

    index: str
    published: int
    rejected: int
