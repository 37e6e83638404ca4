"""Events where there are two of every service: over NATS, and as far as that goes without."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from muster.agent import Agent, Event, Host, connect
from muster.agent.events import BusEvent
from muster.model.errors import FailedPrecondition, MusterError
from muster.servers.server import ServerProcess
from tests.support.processes import until
from tests.support.replicas import replicas
from tests.support.topics import Heard, listener, publisher


async def test_agents_of_every_executor_hear_the_same(
    tmp_path: Path, postgres_url: str, nats_process: ServerProcess
) -> None:
    everybody = [listener(f"listener-{n}") for n in range(2)]
    workers = [listener(f"worker-{n}", kind="workers", competing=True) for n in range(2)]
    watcher, told = Agent("watcher"), Heard()

    @watcher.on(subject="agent.attached.>")
    async def hear(event: Event) -> None:
        told.events.append(event)

    async with replicas(tmp_path, postgres_url, bus=nats_process.server.url) as made:
        await made.shared_by(2)
        first, second = made.mesh(0), made.mesh(1)
        async with (
            first.host(watcher, name="watching"),
            first.host(publisher, everybody[0][0], workers[0][0], name="one"),
            second.host(everybody[1][0], workers[1][0], name="two"),
            connect(second.scheduler) as client,
        ):

            async def is_known() -> bool:
                try:
                    await client.call("test.publish", {"topic": "warm", "numbers": []})
                except MusterError:
                    return False
                return True

            await until(is_known, 20, "every scheduler knows the agent")
            await client.call("test.publish", {"topic": "orders.a", "numbers": [*range(100)]})
            for _, heard in everybody:
                await heard.wait_for(100)
                assert heard.data == [{"n": number} for number in range(100)]

            async def all_are_heard() -> bool:
                return sum(len(heard.events) for _, heard in workers) >= 100

            await until(all_are_heard, 10, "all are heard")
            found = Counter(each.data["n"] for _, heard in workers for each in heard.events)
            assert found == Counter(range(100))

            async def everybody_is_told_of() -> bool:
                return len(told.events) >= 6

            await until(everybody_is_told_of, 10, "every agent is told of")
            names = Counter(each.data["agent"] for each in told.events)
            agents = (watcher, publisher, *(agent for agent, _ in (*everybody, *workers)))
            assert names == Counter(agent.name for agent in agents), "each once"


async def test_without_nats_clients_follow_all_schedulers_and_agents_are_refused(
    tmp_path: Path, postgres_url: str
) -> None:
    agent, _ = listener("listener")
    async with replicas(tmp_path, postgres_url) as made:
        await made.shared_by(2)
        mesh = made.mesh(0)
        host = Host([agent], target=mesh.executor, name="refused", leave_seconds=1.0)
        with pytest.raises(FailedPrecondition, match="start the mesh with it"):
            async with host.running():
                pass
        async with (
            mesh.host(publisher, name="one"),
            connect(mesh.scheduler) as client,
        ):
            ended: list[BusEvent] = []

            async def watch() -> None:
                async for event in client.events("contract.ended.>"):
                    ended.append(event)  # noqa: PERF401 - it has no end

            async with asyncio.TaskGroup() as group:
                watching = group.create_task(watch())

                async def is_told() -> bool:
                    try:
                        await client.call("test.publish", {"topic": "a", "numbers": []})
                    except MusterError:  # not every scheduler knows the agent yet
                        return False
                    return len({int(each.event["subject"], 16) >> 15 & 63 for each in ended}) > 8

                await until(is_told, 30, "events of many shards are told")
                watching.cancel()
            with pytest.raises(FailedPrecondition, match="numbers are of one bus"):
                await anext(client.events(from_sequence=7))
            with pytest.raises(FailedPrecondition, match="no bus in common"):
                await publisher.publish("orders.a", 1)
