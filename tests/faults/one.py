"""Runs one row in this process: `python -m tests.faults.one ROW SEED FOLDER SOAK_SECONDS`.

The outcome goes into `outcome.json` in the folder.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from pathlib import Path

from tests.faults import soak
from tests.faults.rows import EVERY
from tests.faults.table import Trial


async def main() -> None:
    """Runs it, and writes down what became of it, whatever happens."""
    name, seed, folder, soak_seconds = sys.argv[1:]
    row = soak.row(float(soak_seconds), name) if name in soak.SETUPS else EVERY[name]
    trial = Trial(row, int(seed), Path(folder))
    failure = ""
    try:
        await row.run(trial)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the row's failure
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    (Path(folder) / "outcome.json").write_text(trial.outcome(failure).to_json())


if __name__ == "__main__":
    asyncio.run(main())
