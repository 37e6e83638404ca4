"""An honest host and an honest client in a process of their own, so that nobody slows them but the
mesh: `python -m tests.faults.hostile.honest TARGET JOURNAL`.

It asks for one contract every 1/PER_SECOND s, whatever became of those before, and adds a line to
its journal when it does, `s NUMBER SECONDS`, and when it has the response, `e NUMBER SECONDS WHY`,
where WHY is empty for the right one. The seconds are the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TextIO

from muster.agent import Agent, Client, Host, connect

PER_SECOND = 40
CAPABILITY = "honest.work"
CALL_SECONDS = 40.0


def make_agent() -> Agent:
    """An agent that does what it is asked to."""
    agent = Agent("honest", kind="honest", max_in_flight=1_000)

    @agent.capability(CAPABILITY)
    async def work(number: int) -> int:
        return number + 1

    return agent


async def ask(client: Client, number: int, journal: TextIO) -> None:
    """One contract, and what became of it."""
    journal.write(f"s {number} {time.monotonic():.6f}\n")
    why = ""
    try:
        answer = await client.call(CAPABILITY, {"number": number}, timeout=CALL_SECONDS)
        if answer != number + 1:
            why = f"answered {answer!r}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is written down
        why = f"{type(error).__name__}: {error}".replace("\n", " ")
    journal.write(f"e {number} {time.monotonic():.6f} {why}\n")


async def main(target: str, path: Path) -> None:
    """Asks until the process is ended."""
    host = Host([make_agent()], target=target, name="honest-host")
    with path.open("a", buffering=1) as journal:
        async with asyncio.TaskGroup() as tasks, connect(target, principal="honest") as client:
            tasks.create_task(host.run())
            await host.connected()
            begun = time.monotonic()
            number = 0
            while True:
                tasks.create_task(ask(client, number, journal))
                number += 1
                await asyncio.sleep(max(0.0, begun + number / PER_SECOND - time.monotonic()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
