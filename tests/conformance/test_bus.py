"""What every bus does."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

from muster.backends.bus_base import Bus, BusUnavailable, Delivery, Group, Message, Start
from muster.backends.bus_embedded import EmbeddedBus
from muster.backends.jetstream.bus import JetStreamBus
from muster.model import limits
from muster.runtime.bus_remote import RemoteBus
from muster.runtime.bus_servicer import BusServicer
from muster.runtime.config import Listen
from muster.runtime.lifetime import background
from muster.runtime.serve import Part, Readiness, serve
from muster.servers.server import ServerProcess
from muster.v1.bus_service_pb2_grpc import add_BusServiceServicer_to_server
from tests.support.processes import until

MakeBus = Callable[[], Bus]  # another way to the same one, as another process has it


@pytest.fixture(params=["embedded", "jetstream", "remote"])
def kind(request: pytest.FixtureRequest) -> str:
    """Of the bus; where NATS is, for that."""
    if request.param == "jetstream":
        nats_server: ServerProcess = request.getfixturevalue("nats_server")
        return nats_server.server.url
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
async def make_bus(kind: str) -> AsyncIterator[MakeBus]:
    """Makes one of this kind."""
    embedded = EmbeddedBus()
    if kind == "embedded":
        yield lambda: embedded
    elif kind != "remote":
        yield lambda: JetStreamBus(kind, "test")
    else:
        async with serve(Listen(grpc_port=0, http_port=None), [bus_part(embedded)]) as server:
            yield lambda: RemoteBus(server.address)


def bus_part(bus: Bus, *, is_alone: bool = True) -> Part:
    """Serves a bus to others."""

    @asynccontextmanager
    async def run(readiness: Readiness) -> AsyncIterator[None]:
        yield

    servicer = BusServicer(bus, lambda: is_alone)
    add = {
        "muster.v1.BusService": lambda server: add_BusServiceServicer_to_server(servicer, server)
    }
    return Part("bus", add, run)


@pytest.fixture
async def bus(make_bus: MakeBus) -> AsyncIterator[Bus]:
    """One that runs."""
    made = make_bus()
    async with background(made.run):
        yield made


@pytest.fixture
async def other(make_bus: MakeBus) -> AsyncIterator[Bus]:
    """The same, elsewhere."""
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
        bus.subscribe(subject, Start(began_ms)) as from_then,
        bus.subscribe(subject, Start(time.time_ns() // 1_000_000 + 60_000)) as from_later,
    ):
        await bus.publish([new])
        assert await read(from_now, 1) == [new]
        assert await read(from_then, 2) == [old, new]
        assert isinstance(from_later, AsyncIterator)


async def read_deliveries(
    deliveries: AsyncIterator[Sequence[Delivery]], count: int
) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await anext(deliveries)
    return found


async def test_a_subscriber_begins_with_a_number(bus: Bus, tenant: str) -> None:
    subject = f"muster.{tenant}.topic.a"
    sent = [message(subject, number) for number in range(5)]
    await bus.publish(sent)
    async with bus.subscribe(subject, Start(0)) as deliveries:
        found = await read_deliveries(deliveries, 5)
    third, last = found[2].sequence, found[4].sequence
    async with (
        bus.subscribe(subject, Start(from_sequence=third)) as from_third,
        bus.subscribe(subject, Start(from_sequence=third - 1)) as from_before,
        bus.subscribe(subject, Start(from_sequence=last + 1)) as from_next,
        bus.subscribe(subject, Start(from_sequence=last + 1_000_000)) as from_another_bus,
    ):
        more = message(subject, 5)
        await bus.publish([more])
        assert await read(from_third, 4) == [*sent[2:], more]
        assert await read(from_before, 5) == [*sent[1:], more]
        assert await read(from_next, 1) == [more]
        assert await read(from_another_bus, 6) == [*sent, more]


async def test_a_subscriber_is_told_when_it_has_all_that_was_there(bus: Bus, tenant: str) -> None:
    subject = f"muster.{tenant}.topic.a"
    await bus.publish([message(subject, number) for number in range(300)])
    for start, count in ((Start(0), 300), (Start(), 0), (Start(1), 300)):
        async with bus.subscribe(subject, start) as deliveries, asyncio.timeout(10):
            before = 0
            async for found in deliveries:
                if not found:
                    break
                before += len(found)
        assert before == count


async def fetch(group: Group, count: int) -> list[Delivery]:
    """So many, and each is there once."""
    found: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await group.fetch(count - len(found))
    assert len({each.sequence for each in found}) == count
    return found


async def test_the_members_of_a_group_divide_what_comes(bus: Bus, other: Bus, tenant: str) -> None:
    subject, name = f"muster.{tenant}.topic.a", f"{tenant}/g"
    async with bus.join(subject, name) as one, other.join(subject, name) as two:
        sent = [message(subject, number) for number in range(20)]
        await bus.publish(sent)
        mine, theirs = await fetch(one, 8), await fetch(two, 12)
        assert {each.message.id for each in (*mine, *theirs)} == {each.id for each in sent}
        assert {each.deliveries for each in (*mine, *theirs)} == {1}
        await one.acknowledge([each.sequence for each in mine])
        await two.acknowledge([each.sequence for each in theirs])
        assert not await one.fetch(10)
        async with bus.join(subject, f"{tenant}/other") as another:
            await bus.publish([message(subject, 20)])
            assert len(await fetch(another, 1)) == 1
        assert len(await fetch(one, 1)) == 1


async def test_what_is_given_back_goes_to_another_and_is_counted(
    bus: Bus, other: Bus, tenant: str
) -> None:
    subject, name = f"muster.{tenant}.topic.a", f"{tenant}/g"
    async with bus.join(subject, name) as one:
        sent = [message(subject, number) for number in range(3)]
        await bus.publish(sent)
        first = await fetch(one, 3)
        await one.acknowledge([first[0].sequence])
        await one.give_back([first[1].sequence])
        (again,) = await fetch(one, 1)
        assert again == first[1]._replace(deliveries=2)
        async with other.join(subject, name) as two:
            await one.give_back([again.sequence])
            (third,) = await fetch(two, 1)
            assert third.deliveries == 3
            await two.acknowledge([third.sequence])
            assert not await two.fetch(5)
    async with other.join(subject, name) as two:
        (left,) = await fetch(two, 1)
        assert left == first[2]._replace(deliveries=2), "who leaves gives back what he holds"


async def test_a_group_goes_on_where_it_is_while_nobody_is_there(bus: Bus, tenant: str) -> None:
    subject, name = f"muster.{tenant}.topic.a", f"{tenant}/g"
    await bus.publish([message(subject, 1)])
    async with bus.join(subject, name, Start(0)) as one:
        (first,) = await fetch(one, 1)
        await one.acknowledge([first.sequence])
    await bus.publish([message(subject, 2)])
    async with bus.join(subject, name) as one:
        (second,) = await fetch(one, 1)
        assert second.message == message(subject, 2)


async def test_who_says_nothing_of_a_message_loses_it_and_who_does_keeps_it(
    bus: Bus, other: Bus, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_HOLD_SECONDS", 1.0)
    subject, name = f"muster.{tenant}.topic.a", f"{tenant}/g"
    async with bus.join(subject, name) as one, other.join(subject, name) as two:
        await bus.publish([message(subject, 1), message(subject, 2)])
        kept, lost = await fetch(one, 2)

        async def hold() -> None:
            while True:
                await one.hold([kept.sequence])
                await asyncio.sleep(0.2)

        async with background(hold):
            (found,) = await fetch(two, 1)
            assert found == lost._replace(deliveries=2)
            await two.acknowledge([found.sequence])
            assert not await two.fetch(1)
        await one.acknowledge([kept.sequence])


async def test_what_is_delivered_too_often_is_dropped(bus: Bus, tenant: str) -> None:
    subject, name = f"muster.{tenant}.topic.a", f"{tenant}/g"
    async with bus.join(subject, name) as one:
        await bus.publish([message(subject, 1), message(subject, 2)])
        (bad,) = await fetch(one, 1)
        (good,) = await fetch(one, 1)
        await one.acknowledge([good.sequence])
        for count in range(2, limits.EVENT_DELIVERIES_MAX + 1):
            await one.give_back([bad.sequence])
            assert await fetch(one, 1) == [bad._replace(deliveries=count)]
        await one.give_back([bad.sequence])
        assert not await one.fetch(1)


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
    async with bus.subscribe("muster.t.>", Start(0)) as slow:
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


async def test_a_bus_that_is_one_of_several_is_refused_to_executors() -> None:
    part = bus_part(EmbeddedBus(), is_alone=False)
    async with serve(Listen(grpc_port=0, http_port=None), [part]) as server:
        bus = RemoteBus(server.address)
        async with background(bus.run):
            with pytest.raises(BusUnavailable, match="no bus in common"):
                async with bus.subscribe("muster.t.>"):
                    pass
            with pytest.raises(BusUnavailable, match="no bus in common"):
                async with bus.join("muster.t.>", "t/g"):
                    pass
            assert await bus.publish([message("muster.t.topic.a")]) == [False]
