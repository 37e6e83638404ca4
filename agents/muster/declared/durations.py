"""Durations as they are written, in seconds."""

from __future__ import annotations

from typing import Any

from muster.wire.times import seconds_of_duration
from muster.workflow.forms import read_duration


def seconds_of(text: str) -> float:
    """ "1m30s" is 90.0."""
    return seconds_of_duration(read_duration(text))


def seconds_in(spec: dict[str, Any], key: str) -> float | None:
    """What stands under a key, if anything does."""
    return seconds_of(spec[key]) if key in spec else None
