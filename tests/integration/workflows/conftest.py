"""One suite for both engines: every test runs on each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from muster.servers.server import ServerProcess
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, ENGINE_KIND_TEMPORAL, EngineKind
from tests.support.engines import engine_worker
from tests.support.meshes import Mesh, all_in_one
from tests.support.workflows import Flows, Workers, flows

ENGINES = {"local": ENGINE_KIND_LOCAL, "temporal": ENGINE_KIND_TEMPORAL}


# Temporal's in one group, so that one worker starts the server.
@pytest.fixture(
    params=["local", pytest.param("temporal", marks=pytest.mark.xdist_group("temporal"))]
)
def engine(request: pytest.FixtureRequest) -> EngineKind.ValueType:
    return ENGINES[request.param]


@pytest.fixture
def temporal(request: pytest.FixtureRequest, engine: EngineKind.ValueType) -> str:
    """Where Temporal is; empty where nobody needs it."""
    if engine != ENGINE_KIND_TEMPORAL:
        return ""
    server: ServerProcess = request.getfixturevalue("temporal_server")
    return server.server.address


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with all_in_one(tmp_path) as mesh:
        yield mesh


@pytest.fixture
async def workers(mesh: Mesh) -> AsyncIterator[Workers]:
    workers = Workers()
    async with mesh.host(workers.agent):
        yield workers


@pytest.fixture
async def flow(
    mesh: Mesh, engine: EngineKind.ValueType, temporal: str, workers: Workers
) -> AsyncIterator[Flows]:
    async with AsyncExitStack() as stack:
        if temporal:
            await stack.enter_async_context(engine_worker(temporal, mesh.scheduler))
        yield await stack.enter_async_context(flows(mesh.scheduler, engine))
