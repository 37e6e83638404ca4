"""Stalls of the machine itself, which are nobody's fault: it ran nobody, or its disk took nothing.

What they delay is no breach of the promise, so the history must know of them. They are measured
beside the mesh: a thread sleeps, and writes a file of its own to the same disk.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.history import OWNER, Fault, Journal
from tests.support.history.journal import SUFFIX

BEAT_SECONDS = 0.1
LATE_SECONDS = 0.1  # of a beat that took longer than it should, its fsync included
STALL_SECONDS = 0.4  # a fault that the history has to know of


class Stalls:
    """The stalls so far."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.spans: list[tuple[float, float]] = []  # shorter ones too, by the monotonic clock

    def met(self, begin: float, end: float) -> bool:
        """Whether the machine stalled between these times."""
        return any(first < end and begin < last for first, last in self.spans)


@contextmanager
def stalls_noted(folder: Path) -> Iterator[Stalls]:
    """Notes stalls while the block runs, in a journal of their own."""
    found = Stalls()
    journal = Journal(folder / f"stalls{SUFFIX}", "stalls")
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(found, journal, folder / "pulse", over))
    watch.start()
    try:
        yield found
    finally:
        over.set()
        watch.join()
        journal.close()


def _watch(found: Stalls, journal: Journal, file: Path, over: threading.Event) -> None:
    pulse = os.open(file, os.O_WRONLY | os.O_CREAT)
    while not over.is_set():
        at, wall = time.monotonic(), time.time()
        over.wait(BEAT_SECONDS)
        os.pwrite(pulse, b"x", 0)
        os.fsync(pulse)
        late = time.monotonic() - at - BEAT_SECONDS
        if late > LATE_SECONDS:
            found.spans.append((at, at + BEAT_SECONDS + late))
        if late > STALL_SECONDS:
            found.seconds.append(late)
            journal.write(Fault("stall", False, "machine", [OWNER], at=at, wall=wall))
            journal.write(Fault("stall", True, "machine", [OWNER]))
    os.close(pulse)
