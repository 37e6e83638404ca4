"""A gRPC port of its own for grpc.health.v1, in clear.

The probes of Kubernetes and of most load balancers speak gRPC without TLS, and a port that takes
certificates cannot be asked without one. What health tells is no secret, so it has a port with
nothing else on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from muster.model import limits
from muster.runtime import network
from muster.runtime.config import ConfigError
from muster.runtime.health import Health
from muster.wire.channel import SERVER_OPTIONS


@asynccontextmanager
async def serve_health(health: Health, host: str, port: int) -> AsyncIterator[int]:
    """Tells `health` while the block runs; yields the port, for 0 is any free one.

    Raises `ConfigError` where it cannot listen.
    """
    network.require_free(host, port)
    address = network.join_address(host, port)
    server = grpc.aio.server(
        options=SERVER_OPTIONS, maximum_concurrent_rpcs=limits.HEALTH_CALLS_MAX
    )
    health.add_to(server)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        raise ConfigError(f"cannot listen on {address}: gRPC gives no reason") from None
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)  # who watches would never end
