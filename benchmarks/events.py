"""Measures events: `python -m benchmarks.events`. Not among the rows of `make bench`.

A mesh of one process, a host process with many agents that subscribe, and one that publishes. Said
are events per second as agents get them, and what a subscription costs the mesh that waits.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from muster.agent import Agent, Event, Host

AGENTS = 620
EVENTS = 2_000
SUBSCRIPTIONS = 10  # of each agent, when it is about memory
_FLEET = "fleet"


class Fleet:
    """Agents that count what they hear."""

    def __init__(self, patterns: int, *, competing: bool = False) -> None:
        self.heard = 0
        self.done = asyncio.Event()
        self.wanted = 0
        first = Agent("a0", kind="listeners")
        for number in range(patterns):
            first.on(f"bench.{number}.>", competing=competing)(self._hear)
        self.agents = [first, *(first.renamed(f"a{number}") for number in range(1, AGENTS))]
        for agent in self.agents:
            agent.max_in_flight = 1

    async def _hear(self, event: Event) -> None:
        self.heard += 1
        if self.heard == self.wanted:
            self.done.set()


def rss_kib(pid: int) -> int:
    """What a process has in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError(pid)


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def mesh(bus: str) -> AsyncIterator[tuple[int, str]]:
    """A mesh of one process: its pid and where it is."""
    from tests.support.processes import MeshProcesses, machine

    with tempfile.TemporaryDirectory() as folder:
        async with machine(Path(folder)) as started:
            told = {"MUSTER_BUS": bus} if bus else {}
            made = MeshProcesses(started, "all-in-one", Path(folder) / "data", told)
            await made.start()
            yield made.running["mesh"].pid, made.address("executor")
            await made.terminate()


async def fan_out(pid: int, target: str, *, competing: bool) -> str:
    """What it took that all agents heard what was published."""
    fleet, talker = Fleet(1, competing=competing), Agent("talker")
    events = EVENTS * 5 if competing else EVENTS // 4
    fleet.wanted = events if competing else events * AGENTS
    listening = Host(fleet.agents, target=target, name=_FLEET)
    talking = Host([talker], target=target, name="talker")
    async with listening.running(), talking.running():
        began, busy = time.perf_counter(), (cpu_seconds(pid), time.process_time())
        async with asyncio.TaskGroup() as group:
            for part in range(64):
                group.create_task(_publish(talker, range(part, events, 64)))
        published = time.perf_counter() - began
        async with asyncio.timeout(120):
            await fleet.done.wait()
        took = time.perf_counter() - began
        mesh_us = (cpu_seconds(pid) - busy[0]) * 1e6 / fleet.heard
        host_us = (time.process_time() - busy[1]) * 1e6 / fleet.heard
    how = "one of" if competing else "each of"
    return (
        f"{how} {AGENTS} agents: {events / published:.0f} published/s, {fleet.heard / took:.0f} "
        f"got/s; CPU for each that was got: mesh {mesh_us:.1f} µs, hosts {host_us:.1f} µs"
    )


async def _publish(talker: Agent, numbers: range) -> None:
    for number in numbers:
        await talker.publish("bench.0.a", {"n": number, "text": "x" * 100})


async def memory(pid: int, target: str) -> float:
    """Bytes of the mesh for each subscription that waits."""
    found = []
    for patterns in (0, SUBSCRIPTIONS):
        fleet = Fleet(patterns)
        async with Host(fleet.agents, target=target, name=_FLEET).running():
            await asyncio.sleep(2)
            found.append(rss_kib(pid))
    return (found[1] - found[0]) * 1024 / (AGENTS * SUBSCRIPTIONS)


async def main(bus: str) -> None:
    """Prints what was measured."""
    async with mesh(bus) as (pid, target):
        print(f"memory: {await memory(pid, target):.0f} bytes a subscription")
        for competing in (False, True):
            print(await fan_out(pid, target, competing=competing))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2] or [""]))
