"""What runs' workflows have done: calls to a scheduler, any of which answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import grpc
from temporalio import activity
from temporalio.exceptions import ApplicationError

from muster.engine.naming import LOAD, PERFORM
from muster.model.errors import Code, MusterError
from muster.v1.engine_service_pb2 import LoadRunRequest, PerformWantsRequest
from muster.v1.engine_service_pb2_grpc import EngineServiceStub
from muster.wire.channel import Channels
from muster.wire.errors import error_of_rpc

CALL_SECONDS = 25.0  # less than an activity's own time

T = TypeVar("T")


class Activities:
    """Calls on a scheduler. Methods take and give serialized messages of `EngineService`."""

    def __init__(self, channels: Channels, scheduler: Callable[[], str]) -> None:
        """`scheduler` says where they are now, as `open_channel` takes it."""
        self._channels = channels
        self._scheduler = scheduler
        self.calls = 0  # since the process started
        self.failures = 0

    @activity.defn(name=LOAD)
    async def load(self, raw: bytes) -> bytes:
        """See `EngineService.LoadRun`."""
        reply = await self._ask(self._stub.LoadRun, LoadRunRequest.FromString(raw))
        return reply.SerializeToString()  # type: ignore[no-any-return]

    @activity.defn(name=PERFORM)
    async def perform(self, raw: bytes) -> bytes:
        """See `EngineService.PerformWants`."""
        reply = await self._ask(self._stub.PerformWants, PerformWantsRequest.FromString(raw))
        return reply.SerializeToString()  # type: ignore[no-any-return]

    @property
    def _stub(self) -> EngineServiceStub:
        return EngineServiceStub(self._channels.to(self._scheduler()))

    async def _ask(self, method: Callable[..., Awaitable[Any]], request: object) -> Any:
        self.calls += 1
        try:
            return await method(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            self.failures += 1
            _raise(error_of_rpc(error))


def _raise(error: MusterError) -> NoReturn:
    """Ends the activity: for now, or, where there is no such run, for good."""
    pause = error.retry_after_seconds
    raise ApplicationError(
        error.message,
        type=error.reason or error.code.name,
        non_retryable=error.code is Code.NOT_FOUND,
        next_retry_delay=timedelta(seconds=pause) if pause else None,
    ) from None
