"""Agents of a measurement, in one process.

`python -m benchmarks.fleet_process TARGET CAPABILITY FIRST HOSTS AGENTS WINDOW` holds HOSTS
sessions, named from h<FIRST> on, of AGENTS agents each, which offer CAPABILITY.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from muster.agent import Agent, Context, Host

HOLD_SECONDS = 0.1


async def echo(text: str) -> str:
    """Answers with what it was asked."""
    return text


async def hold(sent: float, text: str) -> float:
    """Works for a tenth of a second; answers how long after `sent` it began, in seconds.

    Monotonic clocks of one machine agree.
    """
    held = time.monotonic() - sent
    await asyncio.sleep(HOLD_SECONDS)
    return held


async def stream(items: int, pause: float, *, ctx: Context) -> int:
    """Puts out so many items, each with the time at which it was; `pause` seconds apart."""
    next_at = time.monotonic()
    for _ in range(items):
        if pause:
            next_at += pause
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
        await ctx.output(time.monotonic())
    return items


CAPABILITIES: dict[str, Callable[..., Any]] = {
    "bench.echo": echo,
    "bench.hold": hold,
    "bench.stream": stream,
}


def make_agents(capability: str, host: str, count: int, window: int) -> list[Agent]:
    """Agents that all offer the same."""
    agents = []
    for number in range(count):
        agent = Agent(f"{host}-{number}", kind="bench", max_in_flight=window)
        agent.capability(capability)(CAPABILITIES[capability])
        agents.append(agent)
    return agents


async def run(hosts: list[Host]) -> None:
    """Runs until SIGTERM."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        loop.add_signal_handler(signal.SIGTERM, _leave, hosts)
        for host in hosts:
            tasks.create_task(host.run())
        gc.freeze()


def _leave(hosts: list[Host]) -> None:
    for host in hosts:
        host.leave(1.0)


def main() -> None:
    """Runs until SIGTERM."""
    target, capability = sys.argv[1:3]
    first, count, agents, window = map(int, sys.argv[3:])
    hosts = [
        Host(make_agents(capability, name, agents, window), target=target, name=name)
        for name in (f"h{number}" for number in range(first, first + count))
    ]
    uvloop.run(run(hosts))


if __name__ == "__main__":
    main()
