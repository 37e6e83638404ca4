"""Spans of unary gRPC calls, made by OpenTelemetry's own interceptors.

Streams are left out on both sides: a session or a submit stream lasts for days, and each of its
requests has a context of its own. Besides, the server interceptor for asyncio iterates over what a
streaming handler returns, and ours return nothing: they write (see `muster.runtime.interceptor`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool

from muster.telemetry.tracing import current

_OURS = "/muster."
_BETWEEN_SERVICES = "muster.v1.BusService"  # its events carry the context of whoever publishes them


def is_unary(path: str) -> bool:
    """Whether `/package.Service/Method` is a method of Muster's callers, and without a stream."""
    if not path.startswith(_OURS):
        return False  # health and reflection say nothing about anybody's work
    service, _, method = path.removeprefix("/").partition("/")
    if service == _BETWEEN_SERVICES:
        return False
    try:
        found = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method)
    except KeyError:
        return False
    return not (found.client_streaming or found.server_streaming)


def _filter(details: Any) -> bool:
    method = details.method
    return is_unary(method.decode() if isinstance(method, bytes) else method)


def client_interceptors() -> Sequence[grpc.aio.ClientInterceptor]:
    """For a channel; none while traces are off."""
    if current() is None:
        return ()
    from opentelemetry.instrumentation.grpc import aio_client_interceptors

    made: list[Any] = aio_client_interceptors(filter_=_filter)  # type: ignore[no-untyped-call]
    return [each for each in made if isinstance(each, grpc.aio.UnaryUnaryClientInterceptor)]


def server_interceptors() -> Sequence[grpc.aio.ServerInterceptor]:
    """For a server, before its own; none while traces are off."""
    if current() is None:
        return ()
    from opentelemetry.instrumentation.grpc import aio_server_interceptor

    return [aio_server_interceptor(filter_=_filter)]  # type: ignore[no-untyped-call]
