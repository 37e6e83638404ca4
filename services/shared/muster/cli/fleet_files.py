"""A fleet's file, as commands read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from muster.cli.exits import USAGE, Trouble

if TYPE_CHECKING:
    from muster.model.fleet import Fleet


def read_fleet(file: Path) -> Fleet:
    """The fleet that a file describes. Raises `Trouble` with the lines of mistakes."""
    from muster.runtime.fleet import FleetError, load_fleet

    try:
        return load_fleet(file)
    except FleetError as error:
        raise Trouble(str(error), USAGE) from None
