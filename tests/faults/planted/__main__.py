"""`python -m tests.faults.planted BUG MODULE`: runs a service with a bug in it."""

from __future__ import annotations

import runpy
import sys
from importlib import import_module

from tests.faults.planted import slow_disk


def main() -> None:
    """Plants the bug, and becomes the service."""
    bug, module = sys.argv[1:3]
    slow_disk.install()
    import_module(f"tests.faults.planted.{bug}").plant()
    sys.argv[1:] = sys.argv[3:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
