"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.faults.world import World, world

Note = Callable[[str], None]


@pytest.fixture
async def mesh(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A mesh in the shape that the test is parametrized with, its hosts connected."""
    async with world(request.param, tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Notes a figure, which is shown when the tests are over."""
    return lambda text: record_property("figure", text)
