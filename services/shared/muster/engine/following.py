"""Follows one scheduler: what is new about its runs comes in, and goes to their workflows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import grpc

from muster.engine.delivering import Deliveries
from muster.model import limits
from muster.model.errors import NotAuthenticated
from muster.runtime.logs import get_logger
from muster.v1.engine_pb2 import RunDelivered
from muster.v1.engine_service_pb2 import EngineHello, FollowRequest
from muster.v1.engine_service_pb2_grpc import EngineServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from muster.wire.security import Security

_log = get_logger("muster.engine")


class Following:
    """One scheduler. Use while `run` runs."""

    def __init__(
        self,
        worker: str,
        target: str,
        security: Security,
        deliveries: Deliveries,
        changed: Callable[[], None],
    ) -> None:
        """`changed` hears when it begins to follow, and when it no longer does."""
        self.target = target
        self.connected = False
        self._why_not = ""  # as it was said last
        self._hello = EngineHello(worker=f"{worker} {target}")
        self._security = security
        self._deliveries = deliveries
        self._changed = changed
        self._delivered: dict[str, int] = {}
        self._something = asyncio.Event()

    def _missed(self, why: str, say: Callable[..., None]) -> None:
        """Says why a scheduler is not followed; once, for it may be one that does not exist yet."""
        if why != self._why_not:
            self._why_not = why
            say("a scheduler is not followed", scheduler=self.target, error=why)

    async def run(self) -> None:
        """Follow, without end."""
        while True:
            try:
                await self._follow()
            except grpc.RpcError as error:
                self._missed(error_of_rpc(error).message, _log.info)
            except (NotAuthenticated, ValueError) as error:
                self._missed(str(error), _log.warning)
            finally:
                self._end()
            await asyncio.sleep(
                random.uniform(limits.RELINK_SECONDS_MIN, limits.RELINK_SECONDS_MAX)
            )

    def _end(self) -> None:
        self.connected = False
        self._deliveries.lost(self._acknowledge)
        self._delivered.clear()
        self._changed()

    async def _follow(self) -> None:
        """One stream. Its channel is its own: one that has failed keeps neither its connection nor
        its backoff."""
        async with open_channel(self.target, self._security) as channel:
            call = EngineServiceStub(channel).Follow(self._requests())
            try:
                async for frame in call:
                    if not self.connected:
                        self.connected = True
                        self._why_not = ""
                        self._changed()
                    for feed in frame.feeds:
                        self._deliveries.tell(feed, self._acknowledge)
            finally:
                call.cancel()

    async def _requests(self) -> AsyncIterator[FollowRequest]:
        yield FollowRequest(hello=self._hello)
        while True:
            await self._something.wait()
            self._something.clear()
            delivered, self._delivered = self._delivered, {}
            if delivered:
                yield FollowRequest(
                    delivered=[
                        RunDelivered(run_id=run_id, sequence=sequence)
                        for run_id, sequence in delivered.items()
                    ]
                )

    def _acknowledge(self, run_id: str, sequence: int) -> None:
        self._delivered[run_id] = sequence
        self._something.set()
