"""What the peers' drivers share; it needs nothing but the standard library.

A driver starts its own processes, measures, stops them by their ids, and prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

PAYLOAD = "x" * 200
STOP_SECONDS = 10.0


def options() -> argparse.Namespace:
    """What `make bench` says to a driver."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True, help="for files of this round")
    parser.add_argument("--port", type=int, required=True, help="free, for the peer's server")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    # Whoever ends a driver ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return parser.parse_args()


@contextmanager
def process(*command: str, until_ready: bool = True) -> Iterator[int]:
    """Runs a command while the block runs; gives its process id, once it has said a line."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE if until_ready else sys.stderr, stdin=subprocess.DEVNULL
    )
    try:
        if child.stdout is not None and not child.stdout.readline():
            message = f"{command[-1]} ended before it was ready"
            raise RuntimeError(message)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def ready() -> None:
    """Tells who started this process that it is."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


async def closed_loop(
    ask: Callable[[], Awaitable[object]], in_flight: int, seconds: float
) -> dict[str, float]:
    """Answers per second with so many questions in flight, and how long the typical one took."""
    times: list[float] = []
    began = time.perf_counter()
    ends_at = began + seconds

    async def loop() -> None:
        while (asked := time.perf_counter()) < ends_at:
            await ask()
            times.append(time.perf_counter() - asked)

    await asyncio.gather(*(loop() for _ in range(in_flight)))
    return rate(times, time.perf_counter() - began)


def rate(times: list[float], seconds: float) -> dict[str, float]:
    """The figures of one load: answers, answers per second, and their median in milliseconds."""
    return {
        "answers": len(times),
        "per_second": len(times) / seconds,
        "p50_ms": sorted(times)[len(times) // 2] * 1000,
    }


def cpu_seconds(*pids: int) -> float:
    """CPU time of processes so far, with that of their children and threads."""
    ticks = 0
    for each in {each for pid in pids for each in _tree(pid)}:
        # One that ends meanwhile counts with its parent, as a child that was waited for.
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> Iterator[int]:
    yield pid
    children: list[str] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # threads come and go
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                children += (thread / "children").read_text().split()
    for child in children:
        yield from _tree(int(child))


def answer(figures: dict[str, Any], *packages: str) -> None:
    """Tells `make bench` what was measured, with which versions."""
    figures["versions"] = {name: version(name) for name in packages}
    json.dump(figures, sys.stdout)
    sys.stdout.write("\n")
