"""Many agents that wait: `python -m tests.faults.crowd NAME SESSIONS AGENTS_EACH`.

Each session is a host of its own, with its own connection. Any agent answers `crowd.echo`.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys

from muster.agent import Agent, Host

CONNECTING_MAX = 50  # hosts that connect at a time when they are started; later all do at once
FILES_PER_SESSION = 2
FILES_BESIDES = 200


def make_agent(name: str) -> Agent:
    """An agent that says what it is told."""
    agent = Agent(name, kind="crowd", max_in_flight=4)

    @agent.capability("crowd.echo")
    async def echo(text: str) -> str:
        return text

    return agent


async def main() -> None:
    """Runs until SIGTERM."""
    name, sessions, agents = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    allow_files(sessions * FILES_PER_SESSION + FILES_BESIDES)
    hosts = [
        Host([make_agent(f"{name}-{n}-{m}") for m in range(agents)], name=f"{name}-{n}")
        for n in range(sessions)
    ]
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    turns = asyncio.Semaphore(CONNECTING_MAX)

    async def connected(host: Host) -> None:
        async with turns:
            tasks.create_task(host.run())
            await host.connected()

    async with asyncio.TaskGroup() as tasks:
        for host in hosts:
            tasks.create_task(connected(host))
        await stopping.wait()
        for host in hosts:
            host.leave()


def allow_files(count: int) -> None:
    """Raises the limit of open files as far as it takes, if that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


if __name__ == "__main__":
    asyncio.run(main())
