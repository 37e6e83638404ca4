"""One suite for both engines: every test runs on each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, EngineKind
from tests.support.meshes import Mesh, all_in_one
from tests.support.workflows import Flows, Workers, flows

ENGINES = {"local": ENGINE_KIND_LOCAL}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind.ValueType:
    return ENGINES[request.param]


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
async def flow(mesh: Mesh, engine: EngineKind.ValueType, workers: Workers) -> AsyncIterator[Flows]:
    async with flows(mesh.scheduler, engine) as made:
        yield made
