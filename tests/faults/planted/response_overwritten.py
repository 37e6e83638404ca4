"""A report that comes again replaces the response that it made."""

from __future__ import annotations

from muster.model.states import Author
from tests.faults.planted.overwriting import plant_overwriting


def plant() -> None:
    """The last word counts."""
    plant_overwriting(lambda end: end.author is Author.AGENT)
