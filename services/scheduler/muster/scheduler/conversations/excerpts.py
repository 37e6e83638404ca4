"""Shortens what payloads hold to what a person reads at a glance. Pure."""

from __future__ import annotations

import json
from typing import Any

MORE = "…"
PARSED_CHARACTERS_MAX = 16_384  # JSON text that is longer is shown as it is: 0.2 ms to parse


def cut(text: str, bytes_max: int) -> str:
    """At most so many bytes of UTF-8, on one line; a cut is shown."""
    line = " ".join(text[: bytes_max * 4 + 1].split())
    raw = line.encode()
    if len(raw) <= bytes_max:
        return line
    room = bytes_max - len(MORE.encode())
    return raw[: max(0, room)].decode(errors="ignore").rstrip() + MORE if room >= 0 else ""


def plain(json_text: str) -> str:
    """JSON text as people say it: {"city": "Rome", "days": 2} is "city: Rome; days: 2"."""
    if len(json_text) > PARSED_CHARACTERS_MAX:
        return json_text
    value = parsed(json_text)
    return json_text if value is None else said(value)


def parsed(json_text: str) -> Any:
    """The value of JSON text, or None where it is none."""
    try:
        return json.loads(json_text)
    except (ValueError, RecursionError):
        return None


def said(value: Any) -> str:
    """A value of JSON in words."""
    return _said(value, 0)


def _said(value: Any, depth: int) -> str:
    match value:
        case str():
            return value
        case dict():
            parts = [f"{key}: {_said(each, depth + 1)}" for key, each in value.items()]
            return _joined(parts, "; ", "{}", depth)
        case list():
            return _joined([_said(each, depth + 1) for each in value], ", ", "[]", depth)
    return json.dumps(value)


def _joined(parts: list[str], between: str, brackets: str, depth: int) -> str:
    text = between.join(part for part in parts if part)
    return f"{brackets[0]}{text}{brackets[1]}" if depth else text
