"""Every directory: entries put, renewed, forgotten, taken out, read back and watched."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from muster.backends.consul.connection import Address
from muster.backends.consul.directory import ConsulDirectory
from muster.backends.directory_base import Directory, DirectoryError
from muster.backends.directory_memory import MemoryDirectory
from muster.model.directory import Entry, Found, Put, Remove, Renew, State, TimeToLive
from muster.servers.server import ServerProcess


@pytest.fixture(params=["memory", "consul"])
def make_directory(request: pytest.FixtureRequest) -> Callable[[], Directory]:
    """Makes one, with a running event loop. Others may use what is behind it too."""
    if request.param == "memory":
        return MemoryDirectory
    process: ServerProcess = request.getfixturevalue("consul_server")
    return lambda: ConsulDirectory(Address("127.0.0.1", process.server.ports[0]))


@pytest.fixture
async def directory(make_directory: Callable[[], Directory]) -> AsyncIterator[Directory]:
    """One that is in use."""
    async with make_directory() as made:
        yield made


@pytest.fixture
def kind() -> str:
    """A kind of which there is nothing yet."""
    return f"test-{secrets.token_hex(4)}"


def entry(kind: str, number: int = 1, ttl: float = 60.0, **more: str) -> Entry:
    return Entry(f"{kind}:{number}", kind, f"owner of {kind}", TimeToLive(ttl), meta=more)


async def seen(
    directory: Directory, kind: str, holds: Callable[[Sequence[Found]], bool]
) -> Sequence[Found]:
    """The first level that a watch tells for which this holds."""
    async with asyncio.timeout(10), aclosing(directory.watch(kind)) as levels:
        async for level in levels:
            if holds(level):
                return level
    raise AssertionError("a watch has no end")


def states(level: Sequence[Found]) -> list[State]:
    return [each.state for each in level]


async def test_what_is_put_is_found_as_it_was_put(directory: Directory, kind: str) -> None:
    made = replace(entry(kind, zone="a", name="x"), address="127.0.0.1:7173")
    quiet = replace(entry(kind, 2), address="[::1]:7174", state=State.WARNING)
    await directory.apply([Put(made), Put(quiet)])
    level = await seen(directory, kind, lambda level: len(level) == 2)
    assert level == [
        Found(made.id, kind, made.owner, made.address, made.meta, State.PASSING),
        Found(quiet.id, kind, quiet.owner, quiet.address, {}, State.WARNING),
    ]


async def test_a_kind_of_which_there_is_nothing_is_an_empty_level(
    directory: Directory, kind: str
) -> None:
    assert await seen(directory, kind, lambda _level: True) == []


async def test_a_watcher_sees_each_state_and_the_end(directory: Directory, kind: str) -> None:
    made = entry(kind)
    levels: list[list[State]] = []
    async with asyncio.timeout(10), aclosing(directory.watch(kind)) as watch:
        async for level in watch:
            levels.append(states(level))
            if len(levels) == 1:
                await directory.apply([Put(made)])
            elif len(levels) == 2:
                await directory.apply([Renew(replace(made, state=State.WARNING))])
            elif len(levels) == 3:
                await directory.apply([Renew(replace(made, state=State.CRITICAL))])
            elif len(levels) == 4:
                await directory.apply([Remove(made.id)])
            else:
                break
    assert levels == [[], [State.PASSING], [State.WARNING], [State.CRITICAL], []]


async def test_what_is_put_again_is_as_it_was_put_last(directory: Directory, kind: str) -> None:
    await directory.apply([Put(entry(kind, zone="a"))])
    await directory.apply([Put(replace(entry(kind, zone="b"), state=State.WARNING))])
    level = await seen(directory, kind, lambda level: states(level) == [State.WARNING])
    assert level[0].meta == {"zone": "b"}
    await directory.apply([Put(entry(kind, zone="c"))])
    level = await seen(directory, kind, lambda level: states(level) == [State.PASSING])
    assert level[0].meta == {"zone": "c"}


async def test_what_is_not_renewed_in_time_is_critical_until_it_is(
    directory: Directory, kind: str
) -> None:
    made = entry(kind, ttl=1.0)
    await directory.apply([Put(made)])
    await seen(directory, kind, lambda level: states(level) == [State.PASSING])
    await seen(directory, kind, lambda level: states(level) == [State.CRITICAL])
    await directory.apply([Renew(made)])
    await seen(directory, kind, lambda level: states(level) == [State.PASSING])


async def test_an_owner_reads_what_is_there_of_his(directory: Directory, kind: str) -> None:
    mine, changed = entry(kind, 1, zone="a"), entry(kind, 1, zone="b")
    other = replace(entry(kind, 2), owner=f'somebody "else" than {kind}')
    assert await directory.read(mine.owner) == {}
    await directory.apply([Put(mine), Put(other)])
    assert await directory.read(mine.owner) == {mine.id: mine.digest}
    assert await directory.read(other.owner) == {other.id: other.digest}
    await directory.apply([Put(changed)])
    assert await directory.read(mine.owner) == {mine.id: changed.digest} != {mine.id: mine.digest}
    # Whoever puts an entry last has it.
    await directory.apply([Put(replace(mine, owner=other.owner))])
    assert await directory.read(mine.owner) == {}
    await directory.apply([Remove(mine.id), Remove(other.id)])
    assert await directory.read(other.owner) == {}


async def test_a_directory_that_has_forgotten_an_entry_does_not_renew_it(
    directory: Directory, kind: str
) -> None:
    with pytest.raises(DirectoryError):
        await directory.apply([Renew(entry(kind))])
    await directory.apply([Remove(entry(kind).id)])
