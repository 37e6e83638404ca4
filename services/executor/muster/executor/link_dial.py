"""Streaming calls over gRPC, in the shape that a service of the same process has them.

Each call has a channel of its own: one that has failed keeps neither its connection nor its
backoff, and there is nothing to close but the call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import grpc

from muster.executor.link import CallLink
from muster.executor.link_presence import CallPresence
from muster.v1.link_service_pb2_grpc import LinkServiceStub
from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
from muster.wire.channel import open_channel
from muster.wire.security import NO_TLS, Security

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


def dial_link(target: str, security: Security = NO_TLS) -> CallLink:
    """`LinkService.Link` of the scheduler at `target`."""
    return _dial(target, security, lambda channel: LinkServiceStub(channel).Link)


def dial_presence(target: str, security: Security = NO_TLS) -> CallPresence:
    """`RegistryService.ReportPresence` of the registry at `target`."""
    return _dial(target, security, lambda channel: RegistryServiceStub(channel).ReportPresence)


def _dial(
    target: str,
    security: Security,
    method: Callable[[grpc.aio.Channel], grpc.aio.StreamStreamMultiCallable[_Request, _Response]],
) -> Callable[[AsyncIterator[_Request]], AsyncIterator[_Response]]:
    async def stream(requests: AsyncIterator[_Request]) -> AsyncIterator[_Response]:
        async with open_channel(target, security) as channel:
            call = method(channel)(requests)
            try:
                async for response in call:
                    yield response
            finally:
                call.cancel()

    return stream
