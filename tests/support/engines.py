"""Workers of the engine on Temporal, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from muster.engine.__main__ import build
from muster.runtime.config import Listen, Role, default_config
from muster.runtime.serve import Server, serve


@asynccontextmanager
async def engine_worker(
    temporal: str, *schedulers: str, name: str = "engine", **more: Any
) -> AsyncIterator[Server]:
    """A worker in this process, ready. `more` is further configuration."""
    listen = Listen(grpc_port=0, http_port=0, drain_seconds=0.5)
    config = replace(
        default_config(Role.ENGINE),
        listen=listen,
        name=name,
        temporal=temporal,
        scheduler_targets=schedulers,
        **more,
    )
    async with serve(config.listen, build(config)) as server:
        yield server
