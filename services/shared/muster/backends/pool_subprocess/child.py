"""What every kept process starts with: `python -m …child MODULE ARGUMENT…` runs the module.

Its stdin is the lifeline: a pipe that nobody writes to, and that closes when whoever started the
process is gone, however that happened. Then the process gets the SIGTERM that it would have got
from there, and, if it does not end in time, it is killed with everything that it started.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

# A service drains for 5 s; a host whose mesh is gone has nobody to report to.
ORPHAN_SECONDS = 6.0


def main() -> None:
    """Runs the module that the arguments name."""
    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    threading.Thread(target=_hold, args=(lifeline,), name="lifeline", daemon=True).start()
    module = sys.argv[1]
    sys.argv[1:] = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _hold(lifeline: int) -> None:
    while os.read(lifeline, 1):
        continue
    own = os.getpid()
    os.kill(own, signal.SIGTERM)
    threading.Event().wait(ORPHAN_SECONDS)
    if os.getpgid(0) == own:
        os.killpg(own, signal.SIGKILL)
    os.kill(own, signal.SIGKILL)


if __name__ == "__main__":
    main()
