"""`python -m tests.support.history FOLDER`: judges the journals of a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.history.check import check
from tests.support.history.history import History
from tests.support.history.smallest import report


def main() -> int:
    """Prints a report; 1 when a rule was broken."""
    history = History()
    history.read_folder(Path(sys.argv[1]))
    found = check(history)
    sys.stdout.write(report(history, found) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
