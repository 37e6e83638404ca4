"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.meshes import SHAPES, Mesh


@pytest.fixture(params=SHAPES)
async def mesh(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Mesh]:
    """A mesh, once in each shape; the environment says where it is."""
    async with SHAPES[request.param](tmp_path) as mesh:
        for name, value in mesh.environment().items():
            monkeypatch.setenv(name, value)
        yield mesh
