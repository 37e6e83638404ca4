"""DBOS on SQLite: durable workflows with one step each, in one process.

`python dbos_echo.py --folder … --port … --seconds … --in-flight …` measures it. Workflows are
started where they run and their results are waited for there, so that nothing is polled for; a
queue and coroutines were both slower. SQLite is as DBOS opens it: a rollback journal, with fsync.
"""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS
from driving import PAYLOAD, answer, cpu_seconds, options, rate


@DBOS.step()
def echo_step(text: str) -> str:
    """The whole of the work."""
    return text


@DBOS.workflow()
def echo(text: str) -> str:
    """One step."""
    return echo_step(text)


def closed_loop(in_flight: int, seconds: float) -> dict[str, float]:
    """A thread for each workflow in flight."""
    times: list[float] = []
    began = time.perf_counter()

    def loop() -> None:
        while (asked := time.perf_counter()) < began + seconds:
            DBOS.start_workflow(echo, PAYLOAD).get_result()
            times.append(time.perf_counter() - asked)

    with ThreadPoolExecutor(in_flight) as threads:
        for future in [threads.submit(loop) for _ in range(in_flight)]:
            future.result()
    return rate(times, time.perf_counter() - began)


def main() -> None:
    chosen = options()
    logging.disable(logging.CRITICAL)
    url = f"sqlite:///{chosen.folder / 'dbos.sqlite'}"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "CRITICAL"})
    DBOS.launch()
    closed_loop(chosen.in_flight, chosen.seconds / 4)
    before = cpu_seconds(os.getpid())
    load = closed_loop(chosen.in_flight, chosen.seconds)
    load["cpu_us"] = (cpu_seconds(os.getpid()) - before) / load["answers"] * 1e6
    answer(load, "dbos")
    DBOS.destroy()


if __name__ == "__main__":
    main()
