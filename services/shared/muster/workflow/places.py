"""Places in a definition, as people write them: `steps[2].input.text`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

MISTAKES_MAX = 20  # that are shown


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a place; the message says what to do next. The path may be empty."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Mistaken(ValueError):
    """Text is not what it should be. The message has a line for each mistake: "file.yaml:12:
    place: …", as `located` makes them."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        more = len(self.mistakes) - MISTAKES_MAX
        lines = self.mistakes[:MISTAKES_MAX]
        super().__init__("\n".join((*lines, f"… and {more} more") if more > 0 else lines))


def inside(path: str, key: str | int) -> str:
    """The place of a member or an element."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN.fullmatch(key):
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key


def joined(path: str, below: str) -> str:
    """A place that is named from another place."""
    if not path or not below or below.startswith("["):
        return path + below
    return f"{path}.{below}"


def nearest(path: str, lines: Mapping[str, int]) -> int:
    """The line of a place, or of the nearest one around it that has one; 1 at worst."""
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get("", 1)


def problem_at(parts: Iterable[str | int], message: str) -> Problem:
    """What is wrong at a place that is named part by part."""
    path = ""
    for part in parts:
        path = inside(path, part)
    return Problem(path, message)


def located(problems: Iterable[Problem], lines: Mapping[str, int], shown: str) -> list[str]:
    """The problems with file and line, in the order of the lines; each once."""
    found = sorted((nearest(problem.path, lines), str(problem)) for problem in problems)
    return [f"{shown}:{line}: {text}" for line, text in dict.fromkeys(found)]
