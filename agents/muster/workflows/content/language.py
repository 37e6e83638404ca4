"""English text: prose among code, sentences, words, stems, syllables.

Sentences are found by sentencex, stems by snowballstemmer, syllables by Pyphen's hyphenation.
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Final

WORD: Final = re.compile(r"[A-Za-z][A-Za-z'’-]*[A-Za-z]|[A-Za-z]")
SENTENCE_WORDS_MIN: Final = 6
SENTENCE_WORDS_MAX: Final = 60
PROSE_SHARE_MIN: Final = 0.72  # of letters and blanks in a sentence; below it, it is rather code

STOP_WORDS: Final = frozenset(
    """a about above after again all also an and any are as at be because been before being below
    between both but by can cannot could did do does doing done down during each either else etc
    ever every few for from further given had has have having he her here his how however i if
    in into is it its itself just least less let like many may me might more most much must my
    need no nor not of off on once one only onto or other otherwise our out over own per rather
    same see several shall she should since so some still such than that the their them then
    there therefore these they this those though through thus to too two under until up upon us
    use used useful user uses using usually very via was way we well were what when where
    whether which while who whom whose why will with within without would yet you your new first
    second following follows example examples note called call calls return returns value values
    default argument arguments make makes take takes set sets get gets""".split()
)

# What can stand before a full stop that ends no sentence, or that makes a line no prose.
_LIST_MARK: Final = re.compile(r"^\s*(?:[*+-]|\d+[.)]|[a-z][.)]|\([a-z0-9]\))\s+")
_CODE_LINE: Final = re.compile(
    r"^\s*(?:>>>|\.\.\.|\$ |import |from \w+ import|def |class |return |@\w|#)"
    r"|::=|^\s*[\w.]+\(.*\)$"
)
_RULE_LINE: Final = re.compile(r"^\s*([=*~^\"'`#+-])\1{2,}\s*$")
_BLANKS: Final = re.compile(r"\s+")


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of prose in a plain text, each on one line; code and tables are left out."""
    for block in re.split(r"\n\s*\n", text.expandtabs()):
        lines = [line for line in block.splitlines() if line.strip()]
        prose = [line for line in lines if not _CODE_LINE.search(line)]
        if not prose or len(prose) < len(lines) or any(map(_RULE_LINE.match, lines)):
            continue
        for item in _list_items(prose):
            yield _BLANKS.sub(" ", item).strip()


def _list_items(lines: list[str]) -> Iterator[str]:
    """A block as it stands, or each item of the list that it is."""
    item: list[str] = []
    for line in lines:
        if _LIST_MARK.match(line) and item:
            yield " ".join(item)
            item = []
        item.append(_LIST_MARK.sub("", line))
    if item:
        yield " ".join(item)


def sentences(paragraph: str) -> list[str]:
    """The whole sentences of a paragraph that read as prose."""
    from sentencex import segment

    found = (_BLANKS.sub(" ", sentence).strip() for sentence in segment("en", paragraph))
    return [sentence for sentence in found if is_prose(sentence)]


def is_prose(sentence: str) -> bool:
    """Whether a sentence begins and ends like one, has a reader's length, and is mostly words."""
    count = len(WORD.findall(sentence))
    if not SENTENCE_WORDS_MIN <= count <= SENTENCE_WORDS_MAX:
        return False
    begins = sentence[0].isupper() or sentence[0] in "\"“'‘"
    letters = sum(char.isalpha() or char == " " for char in sentence)
    ends = sentence.rstrip("\"”')’").endswith((".", "!", "?"))
    return begins and ends and letters >= PROSE_SHARE_MIN * len(sentence)


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return [word.lower() for word in WORD.findall(text)]


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """What a word has in common with its other forms: "returning" and "returned" are "return"."""
    return str(_stemmer().stemWord(word.lower()))


def stems(text: str) -> list[str]:
    """The stems of a text's words that mean something, in order."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS and len(word) > 2]


@cache
def _hyphenation() -> Any:
    import pyphen

    return pyphen.Pyphen(lang="en_US", left=1, right=1)


@lru_cache(maxsize=50_000)
def syllables(word: str) -> int:
    """How many syllables a word has, by where it may be hyphenated."""
    return len(_hyphenation().positions(word)) + 1


def reading_ease(texts: list[str]) -> float:
    """Flesch's reading ease of sentences (Flesch 1948): 206.835 - 1.015 w/s - 84.6 syl/w.

    About 60 to 70 is plain English, 30 and less is academic; 0.0 for no words.
    """
    spoken = [words(text) for text in texts]
    count = sum(map(len, spoken))
    if not count:
        return 0.0
    spoken_syllables = sum(syllables(word) for sentence in spoken for word in sentence)
    return 206.835 - 1.015 * count / len(texts) - 84.6 * spoken_syllables / count
