"""Tells code from comments and strings, line by line, in any language of `languages`.

One pass of a regular expression per file, no tokeniser: it works for text that does not parse, for
every language alike, and costs a quarter of Python's `tokenize`. For Python it classifies lines as
`tokenize` would (a test compares them over real modules).

The masked text has the lines of the original, with three kinds of places replaced: comments by
COMMENT, strings by STRING where they start and INSIDE on their further lines.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from muster.audit.languages import PYTHON, Syntax, syntax_of
from muster.audit.limits import LINE_CHARS_MAX

COMMENT: Final = "\x01"
INSIDE: Final = "\x02"
STRING: Final = '"'
NUMBER: Final = "0"

_MARKS = re.compile(r"[\x00\x01\x02]")
_FILLED_LINE = re.compile(r"[^\n]+")
_SPACE = re.compile(r"(?<!\w)\s+|\s+(?!\w)")
_NUMBER = re.compile(r"\b\d[\w.]*")
_WORD = re.compile(r"[^\W\d]")
# Lines that say which modules or headers a file uses repeat without being copied logic.
_IMPORT = re.compile(r"(import|from|#include|using|use|package|require)\b")


@dataclass(frozen=True, slots=True)
class LineKinds:
    """How many lines hold code, only comments, or nothing."""

    code: int
    comment: int
    blank: int


def masked_lines(text: str, language: str) -> list[str]:
    """The lines with comments and strings masked."""
    clean = _MARKS.sub(" ", _without_long_lines(text))
    pattern = _masked(syntax_of(language), language == PYTHON)
    return (pattern.sub(_mask, clean) if pattern else clean).split("\n")


def count_lines(masked: list[str]) -> LineKinds:
    """Counts each line once: code, else comment, else blank. A final newline adds no line."""
    lines = masked[:-1] if masked and not masked[-1] else masked
    comment = blank = 0
    for line in lines:
        stripped = line.strip()
        if not stripped:
            blank += 1
        elif not stripped.strip(COMMENT + " \t"):
            comment += 1
    return LineKinds(len(lines) - comment - blank, comment, blank)


def significant_lines(masked: list[str]) -> list[tuple[int, str]]:
    """(line number, normal form) of the lines that say something about the logic.

    The normal form has no layout, no comments, and a placeholder for every string and number. Lines
    without a name (brackets, docstrings, tables of literals) and imports are left out.
    """
    found = []
    for number, line in enumerate(masked, 1):
        stripped = line.replace(COMMENT, "").strip()
        if not stripped or INSIDE in stripped or not _WORD.search(stripped):
            continue
        if not _IMPORT.match(stripped):
            found.append((number, _NUMBER.sub(NUMBER, _SPACE.sub("", stripped))))
    return found


def _without_long_lines(text: str) -> str:
    if len(text) <= LINE_CHARS_MAX:
        return text
    lines = text.split("\n")
    if max(map(len, lines)) <= LINE_CHARS_MAX:
        return text
    return "\n".join(line[:LINE_CHARS_MAX] for line in lines)


def _mask(match: re.Match[str]) -> str:
    if match.lastgroup == "comment":
        return _FILLED_LINE.sub(COMMENT, match.group())
    further = match.group().split("\n")[1:]
    # A blank line inside a string stays blank: it is nothing to read either.
    return "\n".join([STRING, *(INSIDE if line.strip() else "" for line in further)])


@cache
def _masked(syntax: Syntax, is_python: bool) -> re.Pattern[str] | None:
    comments = [rf"{re.escape(start)}[^\n]*" for start in syntax.line]
    comments += [
        rf"{re.escape(start)}[\s\S]*?(?:{re.escape(end)}|\Z)" for start, end in syntax.block
    ]
    # Python's prefixes belong to the string, and decide nothing here: even in a raw string a
    # backslash keeps the quote after it from ending the string.
    prefix = r"(?:\b[rRbBuUfFtT]{1,2})?" if is_python else ""
    strings = [prefix + _quoted(quote) for quote in syntax.quotes]
    groups = [
        f"(?P<{name}>{'|'.join(parts)})"
        for name, parts in (("comment", comments), ("string", strings))
        if parts
    ]
    return re.compile("|".join(groups)) if groups else None


def _quoted(quote: str) -> str:
    escaped = re.escape(quote)
    if len(quote) > 1 or quote == "`":
        last = escaped[-1]
        return rf"{escaped}(?:[^\\{last}]|\\[\s\S]|(?!{escaped}){last})*(?:{escaped}|\Z)"
    # An unfinished string ends with its line: an apostrophe in prose must not swallow the file.
    return rf"{escaped}(?:[^\\\n{escaped}]|\\[\s\S])*(?:{escaped}|(?=\n)|\Z)"
