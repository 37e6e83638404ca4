"""A connection to a mesh's schedules."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc

from muster.agent.options import Metadata, find_targets
from muster.cli.place import Place, require_answer
from muster.model import limits
from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import answer_of

_T = TypeVar("_T")


class ScheduleCalls:
    """Calls of ScheduleService. Errors of the mesh are `MusterError`s."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self.stub = ScheduleServiceStub(channel)
        self._metadata = metadata

    async def ask(self, method: Callable[..., Awaitable[_T]], request: Any) -> _T:
        """The answer to one call."""
        call = method(request, metadata=self._metadata, timeout=limits.COMMAND_SECONDS)
        return await answer_of(call)


@asynccontextmanager
async def schedules(place: Place) -> AsyncIterator[ScheduleCalls]:
    """The schedules of a mesh; raises `Trouble` where it does not answer."""
    endpoints = place.endpoints()
    await require_answer(endpoints.scheduler, place)
    os.environ.update(endpoints.environment)
    targets = find_targets(None)
    async with open_channel(targets.scheduler, targets.security) as channel:
        yield ScheduleCalls(channel, targets.metadata)
