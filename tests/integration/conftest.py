"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.meshes import SHAPES, Mesh
from tests.support.replicas import replicated


@pytest.fixture(params=[*SHAPES, "replicas"])
async def mesh(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Mesh]:
    """A mesh, once in each shape; the environment says where it is."""
    shape: AbstractAsyncContextManager[Mesh]
    if request.param == "replicas":
        shape = replicated(tmp_path, request.getfixturevalue("postgres_url"))
    else:
        shape = SHAPES[request.param](tmp_path)
    async with shape as mesh:
        for name, value in mesh.environment().items():
            monkeypatch.setenv(name, value)
        yield mesh
