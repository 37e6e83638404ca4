"""Whether a process serves, by grpc.health.v1: watched, so that nobody asks again and again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from enum import Enum

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from muster.model.errors import NotAuthenticated
from muster.wire.channel import CHANNEL_OPTIONS, Channels
from muster.wire.security import find_security

_RECONNECT_MS = 50
_PAUSE_SECONDS = 0.05

# Someone who waits for a process to begin wants to know at once; a try on loopback costs nothing.
_OPTIONS = (
    *((key, value) for key, value in CHANNEL_OPTIONS if "reconnect_backoff" not in key),
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
    ("grpc.min_reconnect_backoff_ms", _RECONNECT_MS),
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
)


class Health(Enum):
    """What a process says about all of its services together."""

    UNREACHABLE = "not there"
    NOT_SERVING = "not serving"
    SERVING = "serving"


async def watch_health(address: str, tell: Callable[[Health], None]) -> None:
    """Tells every change, without end; the caller cancels it."""
    request = HealthCheckRequest(service="")
    channels = Channels(find_security(os.environ), _OPTIONS)
    try:
        while True:
            try:
                watch = channels.to(address).unary_stream(
                    "/grpc.health.v1.Health/Watch",
                    request_serializer=HealthCheckRequest.SerializeToString,
                    response_deserializer=HealthCheckResponse.FromString,
                )
                # Waits in the channel while nobody listens, and so for as long as it takes.
                async for answer in watch(request, wait_for_ready=True):
                    serving = answer.status == HealthCheckResponse.SERVING
                    tell(Health.SERVING if serving else Health.NOT_SERVING)
            except (grpc.RpcError, NotAuthenticated):
                pass  # where certificates are no use, the process says it in its own words
            tell(Health.UNREACHABLE)
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        await channels.close()
