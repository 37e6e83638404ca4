"""Celery on Redis with acks_late: a redis-server, a worker with its processes, and this client.

`python celery_echo.py --folder … --port … --seconds … --in-flight …` measures it. Redis runs as it
does by default: snapshots now and then, no append-only file, so a power cut loses the last minutes.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery
from driving import PAYLOAD, answer, cpu_seconds, options, process, rate

WORKERS = 2
PREFETCH = 100  # tasks of a worker process: the default of 4 is for long tasks
START_SECONDS = 30.0

app = Celery("bench")
app.conf.update(
    broker_url=os.environ.get("BENCH_REDIS", ""),
    result_backend=os.environ.get("BENCH_REDIS", ""),
    task_acks_late=True,
    worker_prefetch_multiplier=PREFETCH,
    task_serializer="json",
    result_expires=60,
    broker_connection_retry_on_startup=True,
)


@app.task(name="echo")
def echo(text: str) -> str:
    """The whole of the work."""
    return text


def closed_loop(in_flight: int, seconds: float) -> dict[str, float]:
    """As many tasks in flight as asked for; the oldest one's result is waited for first.

    Results come by Redis' publish and subscribe, so waiting for one takes in those of all.
    """
    times: list[float] = []
    open_: deque[tuple[float, Any]] = deque()
    began = time.perf_counter()
    while time.perf_counter() < began + seconds:
        while len(open_) < in_flight:
            open_.append((time.perf_counter(), echo.delay(PAYLOAD)))
        asked, result = open_.popleft()
        result.get()
        times.append(time.perf_counter() - asked)
    elapsed = time.perf_counter() - began
    for _, result in open_:
        result.get()
    return rate(times, elapsed)


def drive(chosen: Any, pids: list[int]) -> None:
    """Warms up, then measures."""
    echo.delay(PAYLOAD).get(timeout=START_SECONDS)
    closed_loop(chosen.in_flight, chosen.seconds / 4)
    before = cpu_seconds(*pids)
    load = closed_loop(chosen.in_flight, chosen.seconds)
    load["cpu_us"] = (cpu_seconds(*pids) - before) / load["answers"] * 1e6
    answer(load, "celery", "redis")


def main() -> None:
    chosen = options()
    url = f"redis://127.0.0.1:{chosen.port}/0"
    os.environ["BENCH_REDIS"] = url
    app.conf.update(broker_url=url, result_backend=url)
    server = shutil.which("redis-server")
    if server is None:
        sys.exit("redis-server is not installed")
    redis = [server, "--port", str(chosen.port), "--bind", "127.0.0.1"]
    redis += ["--dir", str(chosen.folder), "--loglevel", "warning"]
    worker = [sys.executable, "-W", "ignore", "-m", "celery", "--quiet", "-A", "celery_echo"]
    worker += ["worker", "--concurrency", str(WORKERS), "--loglevel", "ERROR"]
    worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    os.chdir(Path(__file__).parent)  # where the worker finds this module
    with ExitStack() as stack:
        pids = [stack.enter_context(process(*redis, until_ready=False))]
        pids.append(stack.enter_context(process(*worker, until_ready=False)))
        drive(chosen, [*pids, os.getpid()])


if __name__ == "__main__":
    main()
