"""Which of ruff's rules the audit asks for, and how grave each is.

Severities of the security rules follow what Bandit, where they come from, gives the same checks;
the others are judged by what happens when the finding is true: high breaks a program, medium
misleads it, low misleads its reader.
"""

import re
from typing import Final

from muster.audit.limits import COMPLEXITY_MAX
from muster.audit.shapes import Category, Severity

SYNTAX_RULE: Final = "invalid-syntax"
COMPLEXITY_RULE: Final = "C901"
# Our own: the linter crashed on the file, as its parser recurses and some nesting is too deep.
CRASH_RULE: Final = "not-analysed"

SELECTED: Final = ("C901", "PLR09", "S", "D1", "B", "F", "PLE", "E722")
# Docstrings of magic methods and of __init__, which readers do not miss; the second of two rules
# about many arguments; every name that a star import may bring (F403 tells of the import itself);
# `strict=` arguments that older Pythons do not have; asserts, which state what is always true.
IGNORED: Final = ("D105", "D107", "PLR0917", "F405", "B905", "B912", "S101")

_CATEGORY_BY_PREFIX: Final[tuple[tuple[str, Category], ...]] = (
    ("C901", "complexity"),
    ("PLR09", "complexity"),
    ("D", "docs"),
    ("S", "security"),
)
_HIGH: Final = frozenset(
    "S201 S202 S304 S312 S321 S324 S401 S402 S501 S502 S505 S507 S602 S605 S609 S701"
    " B012 F502 F503 F504 F506 F507 F508 F632 F633 F701 F702 F704 F706 F707 F823".split()
)
_LOW: Final = frozenset(
    "S105 S106 S107 S110 S112 S311 S403 S404 S405 S406 S407 S408 S409 S504 S603 S606 S607"
    " B007 B009 B010 B011 B013 B018 B024 B027 B028 B904 B911 F401 F403 F541 F601 F811 F841"
    " F842".split()
)
# Errors that code can be written to avoid at run time: pylint's name for them is stronger.
_ARGUABLE: Final = frozenset({"PLE0604", "PLE0605", "PLE0704"})
# Ruff's own word on a fixed command line.
_SEEMS_SAFE: Final = "seems safe"
_HIGH_RATIO: Final = 3
_MEDIUM_RATIO: Final = 2
# "`f` is too complex (12 > 10)", "Too many branches (31 > 12)"
_EXCESS: Final = re.compile(r"\((\d+) > (\d+)\)")


def category_of(rule: str) -> Category:
    """The part of the report that a rule belongs to; what is none of the others is a bug risk."""
    for prefix, category in _CATEGORY_BY_PREFIX:
        if rule.startswith(prefix):
            return category
    return "bugs"


def severity_of(rule: str, message: str) -> Severity:
    """How grave a finding is; for complexity by how many times the limit is exceeded."""
    category = category_of(rule)
    if category == "docs":
        return "low"
    if category == "complexity":
        return _severity_of_excess(message)
    if rule in _LOW or _SEEMS_SAFE in message:
        return "low"
    breaks = rule.startswith("PLE") and rule not in _ARGUABLE
    return "high" if breaks or rule in _HIGH or rule == SYNTAX_RULE else "medium"


def complexity_in(message: str) -> int:
    """The measured value in a complexity message; 0 where there is none."""
    match = _EXCESS.search(message)
    return int(match.group(1)) if match else 0


def with_complexity_limit(message: str) -> str:
    """The message with the limit the audit reports by, not the one that made ruff measure all."""
    return _EXCESS.sub(rf"(\1 > {COMPLEXITY_MAX})", message)


def _severity_of_excess(message: str) -> Severity:
    match = _EXCESS.search(message)
    if not match:
        return "low"
    ratio = int(match.group(1)) / max(int(match.group(2)), 1)
    if ratio >= _HIGH_RATIO:
        return "high"
    return "medium" if ratio >= _MEDIUM_RATIO else "low"
