"""Temporal: durable workflows with one activity each, on its development server and SQLite.

`python temporal_echo.py --folder … --port … --seconds … --in-flight …` measures it; the server's
program is named by BENCH_TEMPORAL. One worker, in the process that starts the workflows and
waits for their results.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from driving import PAYLOAD, STOP_SECONDS, answer, options, rate
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "bench"
START_SECONDS = 60.0


@activity.defn
async def echo(text: str) -> str:
    """The whole of the work."""
    return text


@workflow.defn
class Echo:
    """One activity."""

    @workflow.run
    async def run(self, text: str) -> str:
        return await workflow.execute_activity(
            echo, text, start_to_close_timeout=timedelta(seconds=60)
        )


async def connected(target: str) -> Client:
    """A client, once the server answers."""
    give_up = time.monotonic() + START_SECONDS
    while True:
        with suppress(RPCError, RuntimeError):
            return await Client.connect(target)
        if time.monotonic() > give_up:
            message = "the server does not answer"
            raise RuntimeError(message)
        await asyncio.sleep(0.1)


async def loads(client: Client, in_flight: int, seconds: float) -> dict[str, float]:
    """So many workflows in flight, each from its start to its result."""
    times: list[float] = []
    starts: list[float] = []
    began = time.perf_counter()

    async def loop(number: int) -> None:
        count = 0
        while (asked := time.perf_counter()) < began + seconds:
            count += 1
            handle = await client.start_workflow(
                Echo.run, PAYLOAD, id=f"{began}-{number}-{count}", task_queue=QUEUE
            )
            starts.append(time.perf_counter() - asked)
            await handle.result()
            times.append(time.perf_counter() - asked)

    await asyncio.gather(*(loop(number) for number in range(in_flight)))
    load = rate(times, time.perf_counter() - began)
    load["start_p99_ms"] = sorted(starts)[int(len(starts) * 0.99)] * 1000
    return load


async def main() -> None:
    """Starts the server, measures, and ends it."""
    chosen = options()
    server = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        [
            *(os.environ["BENCH_TEMPORAL"], "server", "start-dev", "--headless"),
            *("--ip", "127.0.0.1", "--port", str(chosen.port), "--log-level", "error"),
            *("--db-filename", str(Path(chosen.folder) / "temporal.db")),
        ],
        stdout=sys.stderr,
        stdin=subprocess.DEVNULL,
    )
    try:
        client = await connected(f"127.0.0.1:{chosen.port}")
        worker = Worker(
            client,
            task_queue=QUEUE,
            workflows=[Echo],
            activities=[echo],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        async with worker:
            await loads(client, chosen.in_flight, chosen.seconds / 4)
            load = await loads(client, chosen.in_flight, chosen.seconds)
        answer(load, "temporalio")
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


if __name__ == "__main__":
    asyncio.run(main())
