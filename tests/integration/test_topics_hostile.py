"""Hosts that ask for too much, or for what is not theirs: words for each, and the session lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from muster.agent import connect
from muster.model import limits
from muster.runtime.principal import Grants, Principal
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.payload_pb2 import Payload
from muster.v1.session_pb2 import AttachAgent, AttemptKey, Hello
from muster.v1.subscription_pb2 import (
    SUBSCRIPTION_MODE_BROADCAST,
    SUBSCRIPTION_MODE_COMPETING,
    EventSubscription,
)
from muster.v1.topic_pb2 import EventAck, EventDelivery, Publish, PublishResult
from muster.wire.errors import error_of_status
from tests.support.meshes import Mesh, all_in_one

KEY = AttemptKey(contract_id="0123456789abcdef", epoch=7)


class Raw:
    """A session by hand."""

    def __init__(self, call: grpc.aio.StreamStreamCall[ConnectRequest, ConnectResponse]) -> None:
        self._call = call
        self.events: list[EventDelivery] = []

    async def say(self, **items: object) -> None:
        """Writes one frame."""
        await self._call.write(ConnectRequest(**items))  # type: ignore[arg-type]

    async def hear(self, wanted: Callable[[ConnectResponse], bool]) -> ConnectResponse:
        """The first frame that is wanted."""
        async with asyncio.timeout(10):
            while True:
                frame = await self._call.read()
                assert isinstance(frame, ConnectResponse), "the stream has ended"
                self.events += frame.events
                if wanted(frame):
                    return frame

    async def has_heard(self, condition: Callable[[list[EventDelivery]], bool]) -> None:
        """Returns when that is so of the events."""
        if not condition(self.events):
            await self.hear(lambda _: condition(self.events))

    async def attach(self, *subscriptions: EventSubscription, name: str = "a") -> str:
        """How that goes: a reason, or nothing."""
        spec = AgentSpec(name=name, event_subscriptions=subscriptions)
        await self.say(attaches=[AttachAgent(spec=spec)])
        frame = await self.hear(lambda each: bool(each.attach_results))
        (result,) = frame.attach_results
        return error_of_status(result.error).message if result.HasField("error") else ""

    async def publish(self, *publishes: Publish) -> list[PublishResult]:
        """What becomes of them."""
        await self.say(publishes=publishes)
        results: list[PublishResult] = []
        while len(results) < len(publishes):
            frame = await self.hear(lambda each: bool(each.publish_results))
            results += frame.publish_results
        return results


@asynccontextmanager
async def session(mesh: Mesh, tenant: str = "default") -> AsyncIterator[Raw]:
    async with grpc.aio.insecure_channel(mesh.executor) as channel:
        call = ExecutorServiceStub(channel).Connect(metadata=(("muster-tenant", tenant),))
        raw = Raw(call)
        await raw.say(hello=Hello(protocol_version=1, host="raw"))
        await raw.hear(lambda each: each.HasField("welcome"))
        yield raw
        call.cancel()


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with all_in_one(tmp_path) as made:
        yield made


async def test_subscriptions_that_cannot_be_are_refused_by_name(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_PATTERNS_PER_TENANT_MAX", 20)
    monkeypatch.setattr(limits, "EVENT_SUBSCRIPTIONS_PER_SESSION_MAX", 50)
    broadcast, competing = SUBSCRIPTION_MODE_BROADCAST, SUBSCRIPTION_MODE_COMPETING
    wrong = {
        "pattern": [
            *(EventSubscription(pattern=text) for text in ("", "A", "a..b", ">.a", "a.>.b", "ä")),
            EventSubscription(pattern="a" * 129),
            EventSubscription(pattern="muster.*.\x00"),
        ],
        "group": [
            EventSubscription(pattern="a", group="x", mode=broadcast),
            EventSubscription(pattern="a", group=".>", mode=competing),
        ],
        "mode": [EventSubscription(pattern="a", mode=9)],  # type: ignore[arg-type]
        "unacked_max": [EventSubscription(pattern="a", unacked_max=257)],
    }
    async with session(mesh) as raw:
        for word, subscriptions in wrong.items():
            for each in subscriptions:
                assert word in await raw.attach(each), each
        same = EventSubscription(pattern="a")
        assert "twice" in await raw.attach(same, same)
        many = [EventSubscription(pattern=f"a{number}") for number in range(17)]
        assert "event_subscriptions" in await raw.attach(*many)
        assert await raw.attach(*many[:16]) == ""
        assert "at most 20 different patterns" in await raw.attach(
            *(EventSubscription(pattern=f"b{number}") for number in range(5)), name="b"
        )
        for number in range(2):
            assert await raw.attach(*many[:16], name=f"c{number}") == ""
        assert "at most 50" in await raw.attach(*many[:16], name="d")
        assert await raw.attach(*many[:2], name="d") == ""


async def test_no_pattern_leads_to_another_tenant(mesh: Mesh) -> None:
    async with session(mesh, "acme") as raw, session(mesh, "other") as other:
        await raw.attach(
            EventSubscription(pattern="muster.other.topic.>"),
            EventSubscription(pattern="*.*.>"),
            EventSubscription(pattern=">", mode=SUBSCRIPTION_MODE_COMPETING, group="g"),
        )
        await other.attach(name="o")
        (result,) = await other.publish(Publish(id="1", agent="o", topic="secret.a"))
        assert not result.HasField("error")
        (result,) = await raw.publish(Publish(id="1", agent="a", topic="mine.a"))
        assert not result.HasField("error"), "an id of another tenant is another"
        await raw.has_heard(lambda found: any(x.subject.endswith("mine.a") for x in found))
        assert {each.subject.split(".")[1] for each in raw.events} == {"acme"}


async def test_what_cannot_be_published_is_answered_by_its_id(mesh: Mesh) -> None:
    good = Publish(id="good", agent="a", topic="orders")

    def but(**changed: object) -> Publish:
        made = Publish(agent="a", topic="orders")
        for name, value in changed.items():
            if isinstance(value, Payload | AttemptKey):
                getattr(made, name).CopyFrom(value)
            else:
                setattr(made, name, value)
        return made

    wrong = {
        "id": but(id="../x"),
        "topic": but(id="1", topic="orders.*"),
        "there is no agent": but(id="2", agent="b"),
        "no JSON": but(id="3", data=Payload(json="{")),
        "JSON or bytes": but(id="4", data=Payload(blob={"sha256": "0" * 64})),  # type: ignore[arg-type]
        "data.json": but(id="5", data=Payload(json='"' + "x" * 65_536 + '"')),
        "does not hold": but(id="6", attempt=KEY),
        "type": but(id="7", type="a b"),
        "NaN": but(id="8", data=Payload(json="NaN")),
    }
    async with session(mesh) as raw:
        await raw.attach()
        results = await raw.publish(*wrong.values(), good)
        said = {each.id: each for each in results}
        for word, publish in wrong.items():
            assert word in error_of_status(said[publish.id].error).message, publish.id
        assert not said["good"].HasField("error")


async def test_who_may_not_publish_to_a_topic_is_told(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted = Principal("default", "local", grants=Grants(publishes=("mine.*",)))
    monkeypatch.setattr("muster.executor.servicer.current_principal", lambda: granted)
    async with session(mesh) as raw:
        await raw.attach()
        mine, theirs = await raw.publish(
            Publish(id="1", agent="a", topic="mine.a"), Publish(id="2", agent="a", topic="theirs")
        )
        if mine.id != "1":  # what is refused is answered first
            mine, theirs = theirs, mine
        assert not mine.HasField("error")
        assert error_of_status(theirs.error).reason == "NOT_ALLOWED"


async def test_a_flood_of_publishes_is_bounded_and_harms_nobody(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PUBLISHES_UNACKED_MAX", 50)
    async with session(mesh) as raw, connect(mesh.scheduler) as client:
        await raw.attach()
        flood = [Publish(id=f"f{number}", agent="a", topic="orders") for number in range(200)]
        results = await raw.publish(*flood)
        refused = [each for each in results if each.HasField("error")]
        assert len(refused) == 150
        assert "at most 50" in error_of_status(refused[0].error).message
        (after,) = await raw.publish(Publish(id="after", agent="a", topic="orders"))
        assert not after.HasField("error")
        assert [each async for each in client.list()] == []


async def test_senseless_acks_are_refused_or_passed_over(mesh: Mesh) -> None:
    async with session(mesh) as raw:
        await raw.attach(EventSubscription(pattern="topic.>"))
        unknown = EventAck(pattern="topic.>", agents=["a", "b"], sequences=[1, 2, 1 << 63])
        other = EventAck(pattern="nothing", agents=["a"], sequences=[1], failed=True)
        wrong = EventAck(pattern="topic.>", agents=["a"])
        await raw.say(event_acks=[unknown, other, wrong])
        frame = await raw.hear(lambda each: bool(each.refusals))
        (refusal,) = frame.refusals
        assert refusal.field == "event_acks"
        assert "sequences" in error_of_status(refusal.error).message
        many = EventAck(pattern="topic.>", agents=["a"] * 256, sequences=range(1, 257))
        await raw.say(event_acks=[many, many])
        frame = await raw.hear(lambda each: bool(each.refusals))
        (refusal,) = frame.refusals
        assert "at most 65536" in error_of_status(refusal.error).message
        await raw.publish(Publish(id="1", agent="a", topic="orders"))
        await raw.has_heard(bool)


async def test_an_agent_that_never_acknowledges_gets_its_window_and_no_more(mesh: Mesh) -> None:
    async with session(mesh) as raw:
        await raw.attach(EventSubscription(pattern="topic.>", unacked_max=3))
        await raw.publish(*(Publish(id=f"{n}", agent="a", topic="orders") for n in range(100)))
        await raw.attach(name="b")
        assert len(raw.events) == 3
        sequences = [each.sequence for each in raw.events]
        await raw.say(event_acks=[EventAck(pattern="topic.>", agents=["a"], sequences=sequences)])
        await raw.has_heard(lambda found: len(found) == 6)
