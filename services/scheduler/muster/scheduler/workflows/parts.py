"""All that runs workflows in a scheduler, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from muster.backends.base import Blobs
from muster.model import limits
from muster.runtime.lifetime import background
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.children import Children
from muster.scheduler.workflows.commands import Commands
from muster.scheduler.workflows.doing import Doing
from muster.scheduler.workflows.forgetting import forget_runs
from muster.scheduler.workflows.gates import answered
from muster.scheduler.workflows.local import LocalEngine
from muster.scheduler.workflows.outside import OutsideEngine
from muster.scheduler.workflows.reading import Reading
from muster.scheduler.workflows.restoring import Restoring
from muster.scheduler.workflows.runs import Runs
from muster.scheduler.workflows.starting import Starting
from muster.scheduler.workflows.starts_first import StartsFirst
from muster.scheduler.workflows.versions import Versions
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, ENGINE_KIND_TEMPORAL


class Engines(NamedTuple):
    """Who runs workflows."""

    default: int = ENGINE_KIND_LOCAL  # where a start does not say
    temporal: bool = False  # its workers will follow, also where none does yet


ENGINES = Engines()


class Parts:
    """Use inside `run`, and that inside the scheduler's."""

    def __init__(
        self,
        scheduler: Scheduler,
        blobs: Blobs,
        engines: Engines = ENGINES,
        retention_seconds: float = limits.RETENTION_SECONDS,
    ) -> None:
        self._retention_seconds = retention_seconds
        self._scheduler = scheduler
        self.versions = Versions(scheduler.ledger, shared=scheduler.shared)
        self.runs = Runs(scheduler)
        self.reading = Reading(scheduler.ledger, self.versions)
        children = Children(scheduler, self.runs, self.versions)
        self.doing = Doing(scheduler, self.runs, blobs, children)
        self.restoring = Restoring(scheduler, self.runs, self.reading, children)
        self.starting = Starting(
            scheduler, self.runs, self.versions, self.reading, self.restoring, engines.default
        )
        self.commands = Commands(scheduler, self.runs, self.reading, self.restoring, self.starting)
        self.starts = StartsFirst()
        self.local = LocalEngine(scheduler, self.doing, self.starts)
        self.outside = OutsideEngine(scheduler, self.doing, expected=engines.temporal)
        self.runs.engines |= {
            ENGINE_KIND_LOCAL: self.local,
            ENGINE_KIND_TEMPORAL: self.outside,
        }

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run what is open while the block runs."""
        self._scheduler.questions.on_answered = partial(answered, self.runs)
        await self.restoring.follow()
        async with background(
            self.restoring.run,
            self.reading.look_up,
            partial(forget_runs, self._scheduler, self.runs, self._retention_seconds),
            self.outside.sweep,
            *self.local.loops,
        ):
            yield
