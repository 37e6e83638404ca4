"""One holder at a time for each key, and nothing left when nobody wants it."""

from __future__ import annotations

import asyncio

from muster.wire.keyed_locks import KeyedLocks


async def test_holders_of_one_key_take_turns_and_others_do_not_wait() -> None:
    locks, inside = KeyedLocks(), list[str]()
    two, done = asyncio.Event(), asyncio.Event()

    async def hold(key: str, name: str) -> None:
        async with locks.hold(key):
            inside.append(name)
            assert [each[0] for each in inside].count(name[0]) == 1
            if len(inside) == 2:
                two.set()
            await done.wait()
            inside.remove(name)

    async with asyncio.TaskGroup() as tasks:
        for name in ("a1", "a2", "b1"):
            tasks.create_task(hold(name[0], name))
        await two.wait()
        assert sorted(inside) == ["a1", "b1"]
        done.set()
    assert not inside
    assert not locks._locks
