"""What every bus does."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

import pytest

from muster.backends.bus_base import Bus, BusUnavailable, Delivery, Message
from muster.backends.bus_embedded import EmbeddedBus
from muster.backends.jetstream.bus import JetStreamBus
from muster.model import limits
from muster.runtime.lifetime import background
from muster.servers.server import ServerProcess
from tests.support.processes import until


@pytest.fixture(params=["embedded", "jetstream"])
def make_bus(request: pytest.FixtureRequest) -> Callable[[], Bus]:
    """Makes one of this kind."""
    if request.param == "embedded":
        return EmbeddedBus
    nats_server: ServerProcess = request.getfixturevalue("nats_server")
    return lambda: JetStreamBus(nats_server.server.url, "test")


@pytest.fixture
async def bus(make_bus: Callable[[], Bus]) -> AsyncIterator[Bus]:
    """One that runs."""
    made = make_bus()
    async with background(made.run):
        yield made


@pytest.fixture
def tenant() -> str:
    """One that no other test uses: servers are shared."""
    return f"t{secrets.token_hex(8)}"


def message(subject: str, number: int = 1) -> Message:
    return Message(subject, f"{subject}-{number}", f'{{"number":{number}}}'.encode())


async def read(deliveries: AsyncIterator[Sequence[Delivery]], count: int) -> list[Message]:
    """The next messages, so many."""
    found: list[Delivery] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await anext(deliveries)
    sequences = [each.sequence for each in found]
    assert sequences == sorted(set(sequences))
    return [each.message for each in found]


async def test_subscribers_get_what_fits_in_order(bus: Bus, tenant: str) -> None:
    a, b = f"muster.{tenant}.topic.a", f"muster.{tenant}.topic.b.c"
    async with (
        bus.subscribe(f"muster.{tenant}.>") as everything,
        bus.subscribe(f"muster.{tenant}.topic.b.*") as some,
    ):
        sent = [message(a if n % 2 else b, n) for n in range(20)]
        assert await bus.publish(sent) == [True] * 20
        assert await read(everything, 20) == sent
        assert await read(some, 10) == sent[::2]
        more = message(b, 20)
        assert await bus.publish([more]) == [True]
        assert await read(everything, 1) == [more]
        assert await read(some, 1) == [more]


async def test_what_comes_twice_is_there_once(bus: Bus, tenant: str) -> None:
    subject = f"muster.{tenant}.topic.a"
    async with bus.subscribe(subject) as deliveries:
        first, second, last = (message(subject, n) for n in range(3))
        for each in ([first, second], [second, first], [first, last]):
            assert await bus.publish(each) == [True, True]
        assert await read(deliveries, 3) == [first, second, last]


async def test_a_subscriber_begins_with_now_or_with_what_is_kept(bus: Bus, tenant: str) -> None:
    subject = f"muster.{tenant}.topic.a"
    began_ms = time.time_ns() // 1_000_000 - 1
    old, new = message(subject, 1), message(subject, 2)
    await bus.publish([old])
    async with (
        bus.subscribe(subject) as from_now,
        bus.subscribe(subject, began_ms) as from_then,
        bus.subscribe(subject, time.time_ns() // 1_000_000 + 60_000) as from_later,
    ):
        await bus.publish([new])
        assert await read(from_now, 1) == [new]
        assert await read(from_then, 2) == [old, new]
        assert isinstance(from_later, AsyncIterator)


async def test_tenants_whose_names_resemble_each_other_do_not_see_each_other(
    bus: Bus, tenant: str
) -> None:
    mine, theirs = f"muster.{tenant}.topic.a", f"muster.{tenant}x.topic.a"
    async with bus.subscribe(f"muster.{tenant}.>") as deliveries:
        await bus.publish([message(theirs), message(mine)])
        assert await read(deliveries, 1) == [message(mine)]


async def test_nothing_to_publish_is_published(bus: Bus) -> None:
    assert await bus.publish([]) == []


async def test_whoever_is_slow_holds_up_nobody(bus: Bus, tenant: str) -> None:
    subject = f"muster.{tenant}.topic.a"
    async with bus.subscribe(subject) as slow, bus.subscribe(subject) as quick:
        for number in range(0, 1000, 250):
            sent = [message(subject, number + n) for n in range(250)]
            assert all(await bus.publish(sent))
            assert await read(quick, 250) == sent
        assert len(await read(slow, 1000)) == 1000


# --- one or the other -----------------------------------------------------------------------------


async def test_the_embedded_one_keeps_so_much_and_forgets_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "BUS_EMBEDDED_BYTES_MAX", 10 * 420)
    bus = EmbeddedBus()
    sent = [message("muster.t.topic.a", number) for number in range(30)]
    async with bus.subscribe("muster.t.>", 0) as slow:
        await bus.publish(sent)
        async with aclosing(slow) as deliveries:  # type: ignore[type-var]
            found = await read(deliveries, 1)
    assert 5 < len(found) < 30
    assert found == sent[-len(found) :]


async def test_the_embedded_one_says_whether_anybody_listens() -> None:
    bus = EmbeddedBus()
    assert not bus.wanted.is_set()
    async with bus.subscribe("muster.t.>"):
        async with bus.subscribe("muster.t.>"):
            assert bus.wanted.is_set()
        assert bus.wanted.is_set()
    assert not bus.wanted.is_set()
    assert bus.unwanted.is_set()


async def test_a_subscription_outlives_the_server(nats_process: ServerProcess) -> None:
    bus = JetStreamBus(nats_process.server.url, "test")
    sent = [message("muster.t.topic.a", number) for number in range(3)]

    async def published(each: Message) -> None:
        async def is_there() -> bool:
            return await bus.publish([each]) == [True]

        await until(is_there, 20, "the bus is back")

    async with background(bus.run), bus.subscribe("muster.t.>") as deliveries:
        await published(sent[0])
        assert await read(deliveries, 1) == sent[:1]
        await nats_process.kill()
        await nats_process.start()
        await published(sent[1])
        assert await read(deliveries, 1) == sent[1:2]
        await nats_process.kill()
        (jetstream,) = nats_process.server.folder.glob("jetstream")
        jetstream.rename(jetstream.with_name("gone"))
        await nats_process.start()
        await published(sent[2])
        assert await read(deliveries, 1) == sent[2:], "another stream, from its beginning"


async def test_without_a_server_nothing_is_acknowledged_and_nobody_can_subscribe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("muster.backends.jetstream.bus.ACK_SECONDS", 0.2)
    bus = JetStreamBus("nats://127.0.0.1:1", "test")
    async with background(bus.run):
        assert await bus.publish([message("muster.t.topic.a")]) == [False]
        with pytest.raises(BusUnavailable):
            async with bus.subscribe("muster.t.>"):
                pass
