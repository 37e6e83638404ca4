"""A worker of the engine, as a part of a process."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from temporalio.client import Client
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from muster.engine.activities import Activities
from muster.engine.connecting import Shown, Temporal
from muster.engine.delivering import Deliveries
from muster.engine.following import Following
from muster.engine.metrics import engine_metrics
from muster.engine.naming import TASK_QUEUE
from muster.engine.workflow import RunWorkflow
from muster.model import limits
from muster.runtime.lifetime import background
from muster.runtime.logs import get_logger
from muster.runtime.serve import Part, Readiness
from muster.wire.channel import Channels
from muster.wire.security import NO_TLS, Security
from muster.wire.targets import one_target

SERVICE = "muster.engine"  # by which its health is asked

_CONNECT_SECONDS = 10.0

_log = get_logger("muster.engine")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is told."""

    name: str
    # Unique in the mesh.

    temporal: Temporal
    schedulers: Sequence[str]
    # Every one of them, as gRPC targets.

    security: Security = NO_TLS
    # Towards schedulers.


class EngineWorker:
    """Follows schedulers, and runs workflows. Use inside `run`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channels = Channels(settings.security)
        self._readiness: Readiness | None = None
        self._found: Mapping[str, str] = {}  # in a directory
        self._followings: dict[str, Following] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._polling = False
        self._ready = asyncio.Event()
        self.deliveries = Deliveries(time.monotonic)
        self.activities = Activities(self._channels, self._any_scheduler)

    @property
    def is_ready(self) -> bool:
        """Whether runs can go on: Temporal is there, and a scheduler is."""
        return self._polling and any(each.connected for each in self._followings.values())

    @asynccontextmanager
    async def run(self, readiness: Readiness) -> AsyncIterator[None]:
        """Work while the block runs, which begins when everything that is needed is there."""
        self._readiness = readiness
        try:
            async with background(
                self._work,
                self._follow,
                self.deliveries.probe,
                self.deliveries.look,
                *([self.deliveries.deliver] * limits.ENGINE_SIGNALS_AT_ONCE),
            ):
                await self._ready.wait()
                yield
        finally:
            await self._channels.close()

    def _changed(self) -> None:
        if self.is_ready:
            self._ready.set()
        if self._readiness is not None and self._ready.is_set():
            self._readiness.serving() if self.is_ready else self._readiness.impaired()

    # --- Temporal ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Run workflows, without end. While Temporal is away the worker waits by itself; what ends
        it is begun again."""
        pause = limits.ENGINE_BACKOFF_SECONDS_MIN
        while True:
            try:
                shown = self._settings.temporal.shown()
                client = await self._connect(shown)
                await self._poll(client, shown)
            # Where it takes too long, that is an OSError, too.
            except (RPCError, RuntimeError, OSError, ValueError) as error:
                _log.warning(
                    "Temporal is not there, or does not let us in; trying again",
                    temporal=self._settings.temporal.address,
                    error=str(error) or "it does not answer",
                )
            finally:
                self._polling = False
                self._changed()
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause)
            pause = min(2 * pause, limits.ENGINE_BACKOFF_SECONDS_MAX)

    async def _connect(self, shown: Shown) -> Client:
        settings = self._settings
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await settings.temporal.connect(shown, settings.name, _runtime())

    async def _poll(self, client: Client, shown: Shown) -> None:
        """Run workflows until something else is to be shown to Temporal."""
        worker = Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[RunWorkflow],
            activities=[self.activities.load, self.activities.perform],
            # The sandbox costs as much as the rest of a run. Tests replay histories in it.
            workflow_runner=UnsandboxedWorkflowRunner(),
            # The journal is the record: a history that this version cannot replay is begun anew.
            # Local activities are matched by their order alone, so that may show as any error.
            workflow_failure_exception_types=[Exception],
            # What a worker has begun with, and does not go on with, is another's after so long.
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=limits.ENGINE_STICKY_SECONDS),
            max_cached_workflows=limits.ENGINE_WORKFLOWS_CACHED_MAX,
            max_concurrent_local_activities=limits.ENGINE_CALLS_AT_ONCE,
            graceful_shutdown_timeout=timedelta(seconds=limits.ENGINE_STOP_SECONDS),
        )
        async with worker:
            self.deliveries.connected(client)
            self._polling = True
            self._changed()
            _log.info("Temporal is there", temporal=self._settings.temporal.address)
            await self._settings.temporal.follow_files(client, shown)

    # --- schedulers -------------------------------------------------------------------------------

    def found_schedulers(self, found: Mapping[str, str]) -> None:
        """A directory tells where schedulers are: name -> gRPC target."""
        self._found = dict(found)
        self._follow_new()

    def _any_scheduler(self) -> str:
        connected = [each.target for each in self._followings.values() if each.connected]
        return one_target(connected or self._targets())

    def _targets(self) -> list[str]:
        return list(dict.fromkeys([*self._settings.schedulers, *self._found.values()]))

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._follow_new()
            await asyncio.Event().wait()

    def _follow_new(self) -> None:
        """One that is gone is dialled on: it may come back, and costs little."""
        if self._tasks is None:
            return
        for target in self._targets():
            if target not in self._followings:
                following = Following(
                    self._settings.name,
                    target,
                    self._settings.security,
                    self.deliveries,
                    self._changed,
                )
                self._followings[target] = following
                self._tasks.create_task(following.run(), name=f"follow {target}")


@cache
def _runtime() -> Runtime:
    """What Temporal's client runs on; one for the process. It tells of each of its retries, where
    one line about Temporal being away is enough, and that is ours."""
    quiet = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    telemetry = TelemetryConfig(logging=LoggingConfig(filter=quiet, forwarding=forwarding))
    return Runtime(telemetry=telemetry, worker_heartbeat_interval=None)


def engine_part(worker: EngineWorker) -> Part:
    """Runs the worker. There is no service of its own, but its health."""
    return Part(
        name="engine",
        services={SERVICE: lambda _: None},
        run=worker.run,
        metrics=[engine_metrics(worker.deliveries, worker.activities)],
    )
