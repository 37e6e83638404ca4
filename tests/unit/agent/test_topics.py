"""What a host does with events: each handled once, in order, and acknowledged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from muster.agent import Agent, Context, Event
from muster.agent.session.core import SessionCore
from muster.agent.testing import Bench
from muster.agent.topics import hearing
from muster.agent.topics.event import publication
from muster.agent.topics.handler import Handler, as_json
from muster.agent.work import Work
from muster.model import limits
from muster.model.errors import MusterError
from muster.v1.topic_pb2 import EventDelivery, PublishResult
from muster.wire.errors import status_of


class Host:
    """A host's topics without a mesh."""

    def __init__(self, work: Work, core: SessionCore) -> None:
        self.topics = work.topics
        self.core = core

    def deliver(self, *numbers: int, agents: str = "a", pattern: str = "topic.x") -> None:
        """Events from the mesh."""
        for number in numbers:
            event = {"id": f"e{number}", "type": "t", "source": "s", "data": number}
            self.topics.deliver(
                EventDelivery(
                    pattern=pattern,
                    agents=agents.split(),
                    sequence=number,
                    subject="muster.default.topic.x",
                    id=f"e{number}",
                    event=json.dumps(event),
                )
            )

    def acks(self) -> list[tuple[int, bool, str]]:
        """What has been acknowledged since the last time."""
        frame = self.core.take(0.0)
        if frame is None:
            return []
        return [(place[1], place[2], " ".join(agents)) for place, agents in frame.event_acks]

    async def acknowledged(self, count: int) -> list[tuple[int, bool, str]]:
        """So many acknowledgements."""
        found: list[tuple[int, bool, str]] = []
        async with asyncio.timeout(5):
            while len(found) < count:
                await asyncio.sleep(0)
                found += self.acks()
        return found

    async def published(self) -> list[str]:
        """Ids in the next frame that has some."""
        found: list[str] = []
        async with asyncio.timeout(5):
            while not found:
                await asyncio.sleep(0)
                frame = self.core.take(0.0)
                found += [each.id for each in frame.publishes] if frame is not None else []
        return found

    def new_session(self, *agents: Agent) -> list[int]:
        """Where the first subscription of each begins; 0 for now."""
        self.core.open()
        self.topics.new_session()
        specs = [agent.spec() for agent in agents]
        for spec in specs:
            self.topics.resume(spec)
        self.core.welcome(1, 0.0)
        return [spec.event_subscriptions[0].from_sequence for spec in specs]


@asynccontextmanager
async def host_of(*agents: Agent) -> AsyncIterator[Host]:
    core = SessionCore()
    services: Any = None
    async with asyncio.TaskGroup() as tasks:
        known = {agent.name: agent for agent in agents}
        work = Work(core, known, tasks, services, lambda: None, 1)
        host = Host(work, core)
        host.new_session(*agents)
        yield host
        await work.close()


def recorder(**options: Any) -> tuple[Agent, list[Any], asyncio.Event]:
    """An agent whose handler waits until it may go on."""
    agent, heard, may = Agent("a"), [], asyncio.Event()
    may.set()

    @agent.on("x", **options)
    async def hear(event: Event) -> None:
        await may.wait()
        heard.append(event.data)

    return agent, heard, may


async def test_events_are_handled_in_order_and_acknowledged_once() -> None:
    agent, heard, _ = recorder()
    async with host_of(agent) as host:
        host.deliver(1, 2, 3)
        host.deliver(2)
        assert await host.acknowledged(3) == [(1, False, "a"), (2, False, "a"), (3, False, "a")]
        assert heard == [1, 2, 3]
        host.deliver(3)
        assert await host.acknowledged(1) == [(3, False, "a")]
        assert heard == [1, 2, 3], "it is known"


async def test_agents_that_heard_the_same_acknowledge_it_together() -> None:
    agent, heard, _ = recorder()
    async with host_of(agent, agent.renamed("b")) as host:
        host.deliver(1, agents="a b")
        assert await host.acknowledged(1) == [(1, False, "a b")]
        assert heard == [1, 1]


async def test_a_new_session_goes_on_after_what_was_dealt_with() -> None:
    agent, heard, may = recorder()
    async with host_of(agent) as host:
        host.deliver(5, 6)
        await host.acknowledged(2)
        may.clear()
        host.deliver(7, 8)
        await asyncio.sleep(0)
        assert host.new_session(agent) == [7]
        host.deliver(7, 8)
        may.set()
        assert await host.acknowledged(2) == [(7, False, "a"), (8, False, "a")]
        assert heard == [5, 6, 7, 8]
        assert host.new_session(agent) == [9]


async def test_who_has_heard_nothing_goes_on_from_when_it_was_there_first() -> None:
    agent, _, _ = recorder()
    async with host_of(agent) as host:
        spec = agent.spec()
        assert not spec.event_subscriptions[0].HasField("since")
        host.topics.resume(spec)
        assert spec.event_subscriptions[0].since.seconds > 1_700_000_000


async def test_several_are_handled_at_a_time_where_that_is_wanted() -> None:
    agent, heard, may = recorder(concurrency=2)
    may.clear()
    async with host_of(agent) as host:
        host.deliver(1, 2, 3)
        await asyncio.sleep(0)
        assert host.new_session(agent) == [0], "the first is not done"
        may.set()
        await host.acknowledged(2)
        assert sorted(heard) == [1, 2]


@pytest.mark.parametrize("competing", [False, True])
async def test_a_handler_that_fails_is_tried_again_and_says_so_in_the_end(
    competing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_INITIAL_SECONDS", 0.0)
    agent, tries = Agent("a"), []

    @agent.on("x", competing=competing)
    async def hear(event: Event) -> None:
        tries.append(event.data)
        if event.data == 1:
            raise RuntimeError

    async with host_of(agent) as host:
        host.deliver(1, 2)
        assert await host.acknowledged(2) == [(1, True, "a"), (2, False, "a")]
        assert tries == [1, 1, 1, 2]
        host.deliver(1)
        await host.acknowledged(1)
        assert tries == [1, 1, 1, 2, *([1, 1, 1] if competing else [])]


async def test_what_is_no_cloud_event_or_nobodys_is_dealt_with() -> None:
    agent, heard, _ = recorder()
    async with host_of(agent) as host:
        wrong = EventDelivery(pattern="topic.x", agents=["a"], sequence=1, id="?", event="[]")
        host.topics.deliver(wrong)
        host.deliver(2, agents="nobody")
        found = await host.acknowledged(2)
        assert sorted(found) == [(1, False, "a"), (2, True, "nobody")]
        assert heard == ["[]"]


async def test_what_is_known_of_the_past_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "IDS_KEPT", 5)
    agent, _, _ = recorder()
    async with host_of(agent) as host:
        for number in range(1, 50):
            host.deliver(number)
            await host.acknowledged(1)
        (of_a,) = host.topics._hearings.values()
        assert len(of_a._done) <= 6


# --- publishing -----------------------------------------------------------------------------------


async def test_what_is_published_is_sent_on_every_session_until_it_is_answered() -> None:
    agent, _, _ = recorder()
    async with host_of(agent) as host, asyncio.TaskGroup() as tasks:
        publisher = host.topics.publisher
        made = publication("x.y", {"n": 1}, "", "", "", 0.0)
        task = tasks.create_task(publisher.publish("a", made, "1"))
        await asyncio.sleep(0)
        for _ in range(2):
            frame = host.core.take(0.0)
            assert frame is not None
            (sent,) = frame.publishes
            assert (sent.id, sent.agent, sent.topic, sent.data.json) == ("1", "a", "x.y", '{"n":1}')
            host.new_session(agent)
        publisher.published(PublishResult(id="1", agent="a"))
        await task
        host.new_session(agent)
        assert host.core.take(0.0) is None


async def test_what_the_bus_does_not_take_is_tried_again_and_what_is_wrong_is_not() -> None:
    agent, _, _ = recorder()
    async with host_of(agent) as host:
        publisher = host.topics.publisher
        made = publication("x.y", None, "", "", "", 5.0)

        async def publish() -> None:
            with pytest.raises(MusterError, match="wrong"):
                await publisher.publish("a", made, "1")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish())
            assert await host.published() == ["1"]
            away = MusterError("away", reason="NOT_READY", retry_after_seconds=0.001)
            publisher.published(PublishResult(id="1", agent="a", error=status_of(away)))
            assert await host.published() == ["1"]
            wrong = MusterError("wrong", reason="INVALID_FIELD")
            publisher.published(PublishResult(id="1", agent="a", error=status_of(wrong)))


async def test_a_bench_records_what_is_published() -> None:
    agent = Agent("a")

    @agent.capability("test.tell")
    async def tell(ctx: Context) -> None:
        await ctx.publish("told.all", {"n": 1}, id="x")

    run = await Bench(agent).run("test.tell", {})
    (told,) = run.published
    assert (told.topic, told.id, told.content.data) == ("told.all", "x", '{"n":1}')


def test_an_event_is_the_same_at_a_worker_process() -> None:
    agent = Agent("a")
    agent.on("x", threads=True)(lambda event: None)
    (handler,) = agent.handlers.values()
    assert isinstance(handler, Handler)
    for data in ({"a": 1}, b"\x00", None):
        event = Event("topic.x", "i", "t", "s", data, "2026", "about", 7, redelivered=True)
        there = handler.decode(json.loads(json.dumps(as_json(event))))
        assert there == {"event": event}
        assert event.topic == "x"


async def test_acknowledgements_of_very_many_agents_fit_into_frames() -> None:
    agent, _, _ = recorder()
    names = [f"{'n' * 100}{number}" for number in range(700)]
    async with host_of(agent) as host:
        for sequence in range(1, 11):
            for name in names:
                host.core.outbox.acknowledge(name, ("topic.x", sequence, False))
        found: dict[int, list[str]] = {}
        while (frame := host.core.take(0.0)) is not None:
            sizes = [sum(map(len, each)) for _, each in frame.event_acks]
            assert sum(sizes) <= limits.FRAME_BYTES_MAX
            for (_, sequence, _), agents in frame.event_acks:
                assert len(agents) <= limits.EVENT_AGENTS_MAX
                found.setdefault(sequence, []).extend(agents)
        assert found == dict.fromkeys(range(1, 11), names)
