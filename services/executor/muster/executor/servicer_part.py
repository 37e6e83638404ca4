"""The executor as a part of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from muster.executor.metrics import executor_metrics
from muster.executor.service import Executor
from muster.executor.servicer import ExecutorServicer
from muster.runtime.lifetime import Run, background
from muster.runtime.serve import Part, Readiness
from muster.v1.executor_service_pb2 import DESCRIPTOR
from muster.v1.executor_service_pb2_grpc import add_ExecutorServiceServicer_to_server

SERVICE = DESCRIPTOR.services_by_name["ExecutorService"].full_name


def executor_part(executor: Executor, alongside: Sequence[Run] = ()) -> Part:
    """Serves the executor while it runs, and with it what it needs `alongside`."""
    servicer = ExecutorServicer(executor)

    @asynccontextmanager
    async def run(readiness: Readiness) -> AsyncIterator[None]:
        executor.on_link = lambda linked: readiness.serving() if linked else readiness.impaired()
        async with background(*alongside), executor:
            yield

    return Part(
        name="executor",
        services={SERVICE: lambda server: add_ExecutorServiceServicer_to_server(servicer, server)},
        run=run,
        drain=executor.drain,
        metrics=[executor_metrics(executor.core)],
    )
