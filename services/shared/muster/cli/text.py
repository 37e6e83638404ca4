"""How things look in a line of text. Pure; `now` is an argument."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def duration(seconds: float) -> str:
    """A duration that was measured: "0.4 ms", "12 ms", "1.24 s", "3m 04s", "2h 05m", "3d 04h"."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms" if seconds else "0 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    return _two_units(round(seconds))


def age(seconds: float) -> str:
    """How long ago, or for how long: "now", "8s", "3m 04s", "2h 05m", "3d 04h"."""
    whole = int(max(0.0, seconds))
    if whole == 0:
        return "now"
    return _two_units(whole)


def short_age(seconds: float) -> str:
    """The same for a column of a table: "now", "8s", "3m", "2h", "3d"."""
    return age(seconds).partition(" ")[0]


def _two_units(whole: int) -> str:
    for at, (unit, size) in enumerate(_UNITS):
        if whole >= size:
            big, rest = divmod(whole, size)
            if at + 1 == len(_UNITS):
                return f"{big}{unit}"
            small_unit, small = _UNITS[at + 1]
            return f"{big}{unit} {rest // small:02d}{small_unit}"
    return "0s"


def offset(seconds: float) -> str:
    """An instant relative to a beginning: "+0 ms", "+1.24 s"."""
    return f"+{duration(max(0.0, seconds))}"


def clock(unix_seconds: float, now: float) -> str:
    """An instant for people, in their time zone; with its date when that is not today's."""
    there, today = datetime.fromtimestamp(unix_seconds), datetime.fromtimestamp(now)  # noqa: DTZ006
    form = "%H:%M:%S" if there.date() == today.date() else "%Y-%m-%d %H:%M:%S"
    return there.strftime(form)


def parse_duration(text: str) -> float:
    """Seconds of "90", "1.5s", "10m", "1h30m"; raises `ValueError` for anything else."""
    text = text.strip()
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        message = f"{text!r} is no duration; write 30s, 10m or 1h30m"
        raise ValueError(message)
    return sum(float(part[1]) * _SECONDS[part[2] or "s"] for part in parts)


def size(count: float) -> str:
    """A number of bytes: "512 B", "1.2 KB", "64 MB"."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("KB", "MB", "GB"):
        count /= 1000
        if count < 999.5 or unit == "GB":
            return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"
    raise AssertionError(count)


def number(count: int) -> str:
    """A count: "1,204"."""
    return f"{count:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 host", "1,204 agents"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def shortened(text: str, characters_max: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= characters_max else line[: max(0, characters_max - 1)] + "…"


def printable(text: str) -> str:
    """The text without what would steer a terminal: it may come from anywhere."""
    return _CONTROL.sub("�", text)


def compact(value: Any) -> str:
    """A JSON value on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def compact_of(value: Any) -> str:
    """Any value on one line: JSON where it is JSON, its size where it is bytes, else its name."""
    if isinstance(value, bytes):
        return size(len(value))
    try:
        return compact(value)
    except (TypeError, ValueError):
        return str(value)


def indented(value: Any) -> str:
    """A JSON value for people."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def listed(names: Iterable[str], most: int) -> str:
    """Some names, and how many more there are: "a, b +3"."""
    known = list(names)
    shown = ", ".join(known[:most])
    return shown if len(known) <= most else f"{shown} +{len(known) - most}"
