"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from muster.servers.server import ServerProcess
from tests.support.meshes import SHAPES, Mesh, Start
from tests.support.replicas import replicated


@pytest.fixture(params=[*SHAPES, "replicas"])
def start(request: pytest.FixtureRequest) -> Start:
    """Starts a mesh in a shape: those of `SHAPES`, and two of every service, on all servers."""
    if request.param == "replicas":
        consul: ServerProcess = request.getfixturevalue("consul_server")
        ledger: str = request.getfixturevalue("postgres_url")
        return partial(replicated, ledger=ledger, directory=consul.server.url)
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
