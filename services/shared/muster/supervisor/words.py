"""What a process that has ended said last, in words for people."""

from __future__ import annotations

import json
from collections.abc import Sequence

_LINE_CHARACTERS = 300


def last_words(lines: Sequence[str]) -> str:
    """What matters of a log's last lines: the process's own "muster: …", or else its last line."""
    for at, line in enumerate(lines):
        if line.startswith("muster: "):
            return "\n".join([line.removeprefix("muster: "), *lines[at + 1 :]])
    return _plain(lines[-1])[:_LINE_CHARACTERS] if lines else ""


def _plain(line: str) -> str:
    """A line of a structured log as text."""
    try:
        entry = json.loads(line)
        exception = str(entry.get("exception", "")).strip().splitlines()
        return ": ".join([str(entry["message"]), *exception[-1:]])
    except (ValueError, TypeError, KeyError, AttributeError):
        return line.strip()
