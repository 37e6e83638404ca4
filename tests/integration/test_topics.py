"""Agents hear of events and publish them, over real sessions and real buses."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muster.agent import Agent, Event, SyncContext, connect
from muster.model import limits
from muster.model.errors import InvalidArgument
from muster.servers.server import ServerProcess
from tests.support.meshes import Mesh, all_in_one
from tests.support.processes import machine, until
from tests.support.topic_workers import computing
from tests.support.topics import Heard, listener, publisher


@pytest.fixture(params=["embedded", "nats"])
def bus_url(request: pytest.FixtureRequest) -> str:
    if request.param == "embedded":
        return ""
    server: ServerProcess = request.getfixturevalue("nats_process")
    return server.server.url


@pytest.fixture
async def mesh(tmp_path: Path, bus_url: str) -> AsyncIterator[Mesh]:
    async with all_in_one(tmp_path, bus=bus_url) as made:
        yield made


async def test_every_agent_hears_every_event_in_order(mesh: Mesh) -> None:
    agents = [listener(f"listener-{number}") for number in range(5)]
    async with (
        mesh.host(*(agent for agent, _ in agents[:3]), name="one"),
        mesh.host(*(agent for agent, _ in agents[3:]), name="two"),
        mesh.host(publisher, name="three"),
        connect(mesh.scheduler) as client,
    ):
        await client.call("test.publish", {"topic": "orders.created", "numbers": [*range(200)]})
        await client.call("test.publish", {"topic": "parcels.sent", "numbers": [1]})
        trace = f"00-{'a' * 32}-{'b' * 16}-01"
        paid = {"topic": "orders.paid", "numbers": [200]}
        await client.call("test.publish", paid, traceparent=trace)
        for _, heard in agents:
            await heard.wait_for(201)
            assert heard.data == [{"n": number} for number in range(201)]
        event = agents[0][1].events[0]
        assert event.topic == "orders.created"
        assert event.subject == "topic.orders.created"
        assert event.about == "order-0"
        assert event.source == "/tenants/default/agents/publisher"
        assert event.type == "dev.muster.v1.topic"
        assert not event.redelivered
        traced = agents[0][1].events[-1].traceparent
        assert traced.split("-")[1] == "a" * 32, "what handles it is of the same trace"


async def test_what_happens_to_contracts_and_agents_can_be_heard(mesh: Mesh) -> None:
    watcher, ended, agents = Agent("watcher"), Heard(), Heard()

    @watcher.on(subject="contract.ended.>")
    async def hear(event: Event) -> None:
        ended.events.append(event)

    @watcher.on(subject="agent.>")
    async def hear_agents(event: Event) -> None:
        agents.events.append(event)

    async with mesh.host(watcher, name="watching"), connect(mesh.scheduler) as client:
        async with mesh.host(publisher, name="publishing"):
            await client.call("test.publish", {"topic": "a", "numbers": []})
            await ended.wait_for(1)
            assert ended.events[0].data["state"] == "CONTRACT_STATE_SUCCEEDED"

        async def told() -> bool:
            return any(each.subject == "agent.detached.publisher" for each in agents.events)

        await until(told, 10, "the agent's end is told")
        mine = [each for each in agents.events if each.data["agent"] == "publisher"]
        assert [each.type.rsplit(".", 1)[-1] for each in mine] in (
            ["attached", "draining", "detached"],
            ["attached", "detached"],
        )
        assert {each.data["host"] for each in mine} == {"publishing"}
        assert len({each.id for each in mine}) == len(mine)


async def test_one_of_those_that_compete_gets_each_event(mesh: Mesh) -> None:
    agents = [listener(f"worker-{n}", kind="workers", competing=True) for n in range(4)]
    async with (
        mesh.host(*(agent for agent, _ in agents[:2]), name="one"),
        mesh.host(*(agent for agent, _ in agents[2:]), name="two"),
        mesh.host(publisher, name="three"),
        connect(mesh.scheduler) as client,
    ):
        await client.call("test.publish", {"topic": "orders.created", "numbers": [*range(200)]})

        async def all_are_heard() -> bool:
            return sum(len(heard.events) for _, heard in agents) >= 200

        await until(all_are_heard, 10, "all are heard")
        counts = Counter(each.data["n"] for _, heard in agents for each in heard.events)
        assert counts == Counter(range(200))
        assert all(heard.events for _, heard in agents), "the work is divided"


async def test_what_an_agent_held_goes_to_another_when_its_session_ends(mesh: Mesh) -> None:
    stuck, began = Agent("stuck", kind="workers"), asyncio.Event()

    @stuck.on("orders.>", competing=True)
    async def hang(event: Event) -> None:
        began.set()
        await asyncio.Event().wait()

    other, heard = listener("other", kind="workers", competing=True)
    async with mesh.host(publisher, name="three"), connect(mesh.scheduler) as client:
        async with mesh.host(stuck, name="one"):
            await client.call("test.publish", {"topic": "orders.created", "numbers": [1, 2]})
            await began.wait()
            async with mesh.host(other, name="two"):
                await client.call("test.publish", {"topic": "orders.created", "numbers": [3]})
                await heard.wait_for(1)
                assert heard.data == [{"n": 3}]
        async with mesh.host(other, name="two"):
            await heard.wait_for(3)
            assert sorted(each.data["n"] for each in heard.events) == [1, 2, 3]
            assert [each.redelivered for each in heard.events] == [False, True, True]


async def test_what_an_agent_cannot_handle_goes_to_another_and_is_dropped_in_the_end(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_HANDLER_TRIES", 1)
    agent, tries = Agent("worker", kind="workers"), Counter[int]()

    @agent.on("orders.>", competing=True)
    async def refuse(event: Event) -> None:
        tries[event.data["n"]] += 1
        if event.data["n"] == 1:
            message = "not this one"
            raise RuntimeError(message)

    async with (
        mesh.host(agent, name="one"),
        mesh.host(publisher, name="two"),
        connect(mesh.scheduler) as client,
    ):
        await client.call("test.publish", {"topic": "orders.created", "numbers": [1, 2]})

        async def is_tried() -> bool:
            return tries[1] == limits.EVENT_DELIVERIES_MAX and tries[2] == 1

        await until(is_tried, 10, "it is tried five times")
        await client.call("test.publish", {"topic": "orders.created", "numbers": [3]})

        async def goes_on() -> bool:
            return tries[3] == 1

        await until(goes_on, 10, "it goes on")
        assert tries == {1: 5, 2: 1, 3: 1}


async def test_an_agent_can_begin_with_what_was_published_before(mesh: Mesh, bus_url: str) -> None:
    early, first = listener("early")
    late, heard = listener("late", since=1.0)
    async with (
        mesh.host(publisher, name="two"),
        mesh.host(early, name="one"),
        connect(mesh.scheduler) as client,
    ):
        await client.call("test.publish", {"topic": "orders.a", "numbers": [*range(300)]})
        await first.wait_for(300)
        async with mesh.host(late, name="three"):
            await heard.wait_for(300)
            numbers = [*range(300, 400)]
            await client.call("test.publish", {"topic": "orders.a", "numbers": numbers})
            await heard.wait_for(400)
    assert heard.data == [{"n": number} for number in range(400)]


async def test_the_same_id_is_published_once(mesh: Mesh) -> None:
    agent, heard = listener("listener")
    async with (
        mesh.host(agent, name="one"),
        mesh.host(publisher, name="two"),
        connect(mesh.scheduler) as client,
    ):
        await client.call("test.publish_once", {"topic": "orders.a"})
        await client.call("test.publish_sync", {"topic": "orders.bytes"})
        await publisher.publish("orders.outside", [1, 2], id="first")
        await publisher.publish("orders.outside", [1, 2], id="first")
        await publisher.publish("orders.last")
        await heard.wait_for(4)
        assert heard.data == [{"n": 1}, b"\x00\x01", [1, 2], None]
        assert heard.events[1].type == "example.blob"


async def test_handlers_run_elsewhere_and_publish_as_well(mesh: Mesh) -> None:
    agent, heard = listener("listener", "answers.>")

    @agent.on("questions", threads=True)
    def answer(event: Event, ctx: SyncContext) -> None:
        ctx.publish("answers.mine", {"of": event.data["n"], "bytes": isinstance(event.data, dict)})

    async with (
        mesh.host(agent, name="one"),
        mesh.host(publisher, name="two"),
        connect(mesh.scheduler) as client,
    ):
        await client.call("test.publish", {"topic": "questions", "numbers": [1, 2]})
        await heard.wait_for(2)
        assert [each.data["of"] for each in heard.events] == [1, 2]


async def test_a_slow_agent_holds_up_nobody_and_is_told_what_it_missed(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "EVENT_RING_EVENTS_MAX", 100)
    slow, goes_on, seen = Agent("slow"), asyncio.Event(), Heard()

    @slow.on("orders.>")
    async def hang(event: Event) -> None:
        await goes_on.wait()
        seen.events.append(event)

    quick, heard = listener("quick")

    @quick.capability("test.quick")
    async def answer() -> str:
        return "here"

    async with (
        mesh.host(slow, quick, name="one"),
        mesh.host(publisher, name="two"),
        connect(mesh.scheduler) as client,
    ):
        for first in range(0, 1000, 50):
            numbers = [*range(first, first + 50)]
            await client.call("test.publish", {"topic": "orders.a", "numbers": numbers})
            await heard.wait_for(first + 50)
        assert await client.call("test.quick", {}) == "here"
        goes_on.set()

        async def is_at_the_end() -> bool:
            return bool(seen.events) and seen.events[-1].data == {"n": 999}

        await until(is_at_the_end, 10, "the slow one has caught up")
        numbers = [each.data["n"] for each in seen.events]
        window = limits.EVENTS_UNACKED_BROADCAST_DEFAULT
        assert numbers == [*range(window), *range(900, 1000)]
        assert "868 events of topic.orders.> are missing" in caplog.text
        assert {each.data["n"]: each.missed for each in seen.events if each.missed} == {900: 868}


async def test_tenants_hear_their_own(mesh: Mesh) -> None:
    everything, theirs = Agent("everything"), Heard()

    @everything.on(subject=">")
    async def hear(event: Event) -> None:
        theirs.events.append(event)

    agent, heard = listener("listener")
    async with (
        mesh.host(agent, publisher, name="one", tenant="acme"),
        mesh.host(everything, name="one", tenant="other"),
        connect(mesh.scheduler, tenant="acme") as client,
    ):
        await client.call("test.publish", {"topic": "orders.a", "numbers": [1]})
        await heard.wait_for(1)

        async def own() -> bool:
            return bool(theirs.events)

        await until(own, 10, "it hears of itself")
        assert {each.source for each in theirs.events} == {"/tenants/other"}


async def test_what_cannot_be_published_is_refused_with_words(mesh: Mesh) -> None:
    async with mesh.host(publisher, name="one"):
        with pytest.raises(InvalidArgument, match="topic"):
            await publisher.publish("Orders.*")
        with pytest.raises(InvalidArgument, match="65536"):
            await publisher.publish("orders", "x" * 70_000)
        with pytest.raises(InvalidArgument, match="id"):
            await publisher.publish("orders", 1, id="a/b")


async def test_a_watcher_goes_on_from_a_number(mesh: Mesh) -> None:
    agent, heard = listener("listener")
    async with (
        mesh.host(agent, publisher, name="one"),
        connect(mesh.scheduler) as client,
    ):
        for number in range(5):
            await publisher.publish("orders.a", number)
        await heard.wait_for(5)
        third = heard.events[2].sequence
        found = []
        async for event in client.events("topic.>", from_sequence=third):
            found.append(event)
            if len(found) == 3:
                break
        assert [each.event["data"] for each in found] == [2, 3, 4]
        assert [each.sequence for each in found] == [each.sequence for each in heard.events[2:]]
        beginning = await anext(client.events("topic.>", from_sequence=1 << 62))
        assert beginning.event["data"] == 0, "another bus is read from its beginning"


def test_what_is_no_subscription_is_refused_where_it_is_written() -> None:
    agent = Agent("a")
    for wrong in ({"topic": "Orders"}, {"topic": "a.>.b"}, {"subject": ".."}, {}):
        with pytest.raises(ValueError, match=r"pattern|name a topic"):
            agent.on(**wrong)(lambda event: None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes one"):
        agent.on("orders", threads=True)(lambda: None)
    agent.on("orders", threads=True)(lambda event: None)
    with pytest.raises(ValueError, match="already"):
        agent.on("orders", threads=True)(lambda event: None)


async def test_handlers_that_compute_run_in_worker_processes(mesh: Mesh) -> None:
    agent, heard = listener("listener", "answers.>")
    async with (
        mesh.host(agent, computing, name="one"),
        mesh.host(publisher, name="two"),
        connect(mesh.scheduler) as client,
    ):
        await client.call("test.publish", {"topic": "questions", "numbers": [1, 2]})
        await heard.wait_for(2)
        assert [each.data["of"] for each in heard.events] == [1, 2]
        assert os.getpid() not in {each.data["in"] for each in heard.events}
        assert {each.source for each in heard.events} == {"/tenants/default/agents/computing"}


async def test_what_a_host_held_that_is_killed_goes_to_another(mesh: Mesh, tmp_path: Path) -> None:
    other, heard = listener("other", kind="workers", competing=True)
    async with (
        machine(tmp_path) as started,
        mesh.host(publisher, name="two"),
        connect(mesh.scheduler) as client,
    ):
        told = {"MUSTER_ADDRESS": mesh.executor}
        process = await started.start(
            "stuck", "-m", "tests.support.topic_workers", environment=told
        )

        async def is_there() -> bool:
            return "stuck" in {each.spec.name async for each in client.agents()}

        await until(is_there, 10, "the host is there")
        await client.call("test.publish", {"topic": "orders.a", "numbers": [1, 2, 3]})
        await until(lambda: "'n': 1" in process.said, 10, "it has the first one")
        async with mesh.host(other, name="one"):
            began = time.monotonic()
            await process.kill()
            await heard.wait_for(3)
            assert time.monotonic() - began < 5
    assert sorted(each.data["n"] for each in heard.events) == [1, 2, 3]
