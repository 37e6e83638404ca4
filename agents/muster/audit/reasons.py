"""Why a file is a hot spot, in words: for the page and for the terminal."""

from collections.abc import Callable
from typing import Final

from muster.audit.figures import plural
from muster.audit.report_shapes import FileReport
from muster.audit.shapes import Category


def reasons(file: FileReport, at_most: int = 2) -> list[str]:
    """The signals that weigh most, heaviest first: "complexity 35", "7 security findings"."""
    ranked = sorted(file["signals"].items(), key=lambda signal: (-signal[1], signal[0]))
    return [_WORDS[name](file) for name, _ in ranked[:at_most]]


def _complexity(file: FileReport) -> str:
    return f"complexity {file['lint']['complexity']['max']}" if file["lint"] else ""


def _findings(file: FileReport, category: Category, noun: str) -> str:
    found = file["lint"]["findings"] if file["lint"] else []
    return plural(sum(1 for finding in found if finding["category"] == category), noun)


def _duplication(file: FileReport) -> str:
    return plural(file["duplicated_lines"] or 0, "copied line")


def _docs(file: FileReport) -> str:
    docs = file["measures"]["docs"] if file["measures"] else None
    return plural(docs["public"] - docs["documented"], "undocumented name") if docs else ""


def _nesting(file: FileReport) -> str:
    return f"nested {file['measures']['nesting_max']} deep" if file["measures"] else ""


_WORDS: Final[dict[str, Callable[[FileReport], str]]] = {
    "complexity": _complexity,
    "security": lambda file: _findings(file, "security", "security finding"),
    "bugs": lambda file: _findings(file, "bugs", "bug risk"),
    "duplication": _duplication,
    "docs": _docs,
    "nesting": _nesting,
}
