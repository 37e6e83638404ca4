"""Starts before steps."""

from __future__ import annotations

import asyncio

import pytest

from muster.scheduler.workflows import starts_first
from muster.scheduler.workflows.starts_first import StartsFirst

FOREVER = 3600.0


@pytest.fixture
def turns() -> list[str]:
    return []


async def passed() -> None:
    """Whatever was to be called in the next turns of the loop has been."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_turn_waits_for_all_starts_that_are_under_way(
    turns: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts_first, "HELD_SECONDS", FOREVER)
    starts = StartsFirst()
    with starts.starting():
        with starts.starting():
            starts.turn_soon(lambda: turns.append("held"))
            await passed()
        await passed()
        assert turns == []
    await passed()
    assert turns == ["held"]


async def test_without_starts_nothing_waits(turns: list[str]) -> None:
    starts = StartsFirst()
    starts.turn_soon(lambda: turns.append("at once"))
    assert turns == []  # not in this very turn
    await passed()
    assert turns == ["at once"]


async def test_a_start_that_takes_long_holds_turns_for_a_while_only(turns: list[str]) -> None:
    starts = StartsFirst()
    over = asyncio.Event()
    with starts.starting():
        starts.turn_soon(over.set)
        async with asyncio.timeout(10):
            await over.wait()
        # They go on for as long now.
        starts.turn_soon(lambda: turns.append("free"))
        await passed()
        assert turns == ["free"]


async def test_a_turn_without_starts_takes_nothing_from_the_next_start(
    turns: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts_first, "HELD_SECONDS", FOREVER)
    starts = StartsFirst()
    starts.turn_soon(lambda: turns.append("first"))
    await passed()
    with starts.starting():
        starts.turn_soon(lambda: turns.append("second"))
        await passed()
        assert turns == ["first"]
