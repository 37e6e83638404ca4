"""`muster health`: whether a process serves, as a probe asks: one question, one exit code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from muster.cli import exits
from muster.cli.exits import Trouble
from muster.supervisor.finding import PORT_DEFAULT
from muster.wire.channel import open_channel
from muster.wire.security import NO_TLS, Security, find_security

LIVE = "live"  # the service of `muster.runtime.health`, which is not imported: this starts often
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True)
class HealthOptions:
    """What the command line says."""

    address: str | None = None
    service: str = ""
    # Empty: all that the process serves.

    seconds: float = 3.0


def probe_target(
    address: str | None, environment: Mapping[str, str] = os.environ
) -> tuple[str, Security]:
    """Whom to ask, and how: the process that this environment would start, on this machine.

    Its port for probes where it has one, else its gRPC port, with TLS as it is set.
    """
    if address is not None:
        return address, find_security(environment)
    host = environment.get("MUSTER_HOST", "")
    host = _LOOPBACK.get(host, f"[{host}]" if ":" in host else host)
    port = environment.get("MUSTER_HEALTH_PORT", "").lower()
    if port not in ("", "none"):
        return f"{host}:{port}", NO_TLS
    port = environment.get("MUSTER_GRPC_PORT", "") or str(PORT_DEFAULT)
    return f"{host}:{port}", find_security(environment)


async def is_serving(channel: grpc.aio.Channel, service: str, seconds: float) -> bool:
    """Whether a service, or with an empty name all of a process, says that it serves."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    answer = await check(HealthCheckRequest(service=service), timeout=seconds)
    return bool(answer.status == HealthCheckResponse.SERVING)


async def health(options: HealthOptions) -> int:
    """Prints what it says; 0 when it serves, 1 when not, 3 when nobody answers. Raises `Trouble`,
    and `NotAuthenticated` where certificates are no use."""
    target, security = probe_target(options.address)
    try:
        channel = open_channel(target, security, retries=False)
    except ValueError as error:
        raise Trouble(str(error), exits.USAGE) from None
    async with channel:
        try:
            serves = await is_serving(channel, options.service, options.seconds)
        except grpc.aio.AioRpcError as error:
            raise _trouble(error, target, options) from None
    print("serving" if serves else "not serving")
    return exits.OK if serves else exits.FAILED


def _trouble(error: grpc.aio.AioRpcError, target: str, options: HealthOptions) -> Trouble:
    code = error.code()
    if code is grpc.StatusCode.NOT_FOUND:
        return Trouble(f"{target} has no service {options.service!r}", exits.NOT_FOUND)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Trouble(f"{target} did not answer in {options.seconds:g} s", exits.TIMED_OUT)
    return Trouble(f"nobody tells at {target} how it is ({code.name})", exits.NO_MESH)
