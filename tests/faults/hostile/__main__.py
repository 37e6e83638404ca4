"""`python -m tests.faults.hostile [--short] [NAME …]`: every siege, or these, and its figures."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.faults.hostile.figures import LONG, SHORT, Figure
from tests.faults.hostile.ground import battleground
from tests.faults.hostile.roster import HOSTILE


async def main(arguments: list[str]) -> int:
    """Prints a line per figure; returns 1 when a bar was missed."""
    size = SHORT if "--short" in arguments else LONG
    names = [each for each in arguments if not each.startswith("-")] or list(HOSTILE)
    figures: list[Figure] = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            async with battleground(Path(folder)) as ground:
                found = await HOSTILE[name](ground, size)
        figures += found
        print(*found, *ground.details, sep="\n", flush=True)  # noqa: T201 - a command's output
    return int(not all(figure.met for figure in figures))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
