"""A host process of the benchmark: `python -m benchmarks.echo_host TARGET NAME AGENTS WINDOW`."""

from __future__ import annotations

import asyncio
import sys

from muster.agent import Agent, Host


def make_agents(host: str, count: int, window: int) -> list[Agent]:
    """Agents that echo."""
    agents = []
    for number in range(count):
        agent = Agent(f"{host}-{number}", kind="echo", max_in_flight=window)

        @agent.capability("bench.echo")
        async def echo(text: str) -> str:
            return text

        agents.append(agent)
    return agents


def main() -> None:
    """Runs until SIGTERM."""
    target, name, count, window = sys.argv[1:]
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    Host(make_agents(name, int(count), int(window)), target=target, name=name).run_forever()


if __name__ == "__main__":
    main()
