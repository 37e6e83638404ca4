"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.meshes import SHAPES, Mesh, Start
from tests.support.replicas import replicated


@pytest.fixture(params=[*SHAPES, "replicas"])
def start(request: pytest.FixtureRequest) -> Start:
    """Starts a mesh in a shape: those of `SHAPES`, and two of every service."""
    if request.param == "replicas":
        return partial(replicated, ledger=request.getfixturevalue("postgres_url"))
    return SHAPES[request.param]


@pytest.fixture
async def mesh(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Mesh]:
    """A mesh, once in each shape; the environment says where it is."""
    async with start(tmp_path) as mesh:
        for name, value in mesh.environment().items():
            monkeypatch.setenv(name, value)
        yield mesh
