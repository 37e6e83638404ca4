"""Which ports a mesh takes: those that were asked for, or any that are free."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from muster.servers.server import HOST
from muster.supervisor.plan import Backend, Refused, Service, join

_FREE_PORTS = range(20_000, 32_000)
_FREE_PORTS_TRIED = 100


class _Taken(Refused):
    """The port is somebody else's."""


def choose_ports(
    services: Sequence[Service], backends: Sequence[Backend] = ()
) -> tuple[list[Service], list[Backend]]:
    """The same with free ports where they asked for any.

    Raises `Refused` when a port that was asked for is in use. Another process may still take a
    port before its owner does; then the owner says so.
    """
    with ExitStack() as held:
        return (
            [
                replace(
                    each,
                    grpc_port=_hold(held, each.host, each.grpc_port) or 0,
                    http_port=_hold(held, each.host, each.http_port),
                )
                for each in services
            ],
            [
                replace(each, ports=tuple(_hold(held, HOST, port) or 0 for port in each.ports))
                for each in backends
            ],
        )


def _hold(held: ExitStack, host: str, port: int | None) -> int | None:
    if port is None:
        return None
    if port == 0:
        return _hold_any(held, host)
    family, address = _resolved(host, port)
    try:
        listener = held.enter_context(socket.create_server(address, family=family))
    except OSError as error:
        raise _Taken(_why_not(host, port, error)) from None
    return int(listener.getsockname()[1])


def _hold_any(held: ExitStack, host: str) -> int | None:
    """A free port that no system gives to outgoing connections.

    One of those could be gone while a service is being started again, and might even be taken by
    the very connection that looks for the service.
    """
    for port in random.sample(_FREE_PORTS, _FREE_PORTS_TRIED):
        try:
            return _hold(held, host, port)
        except _Taken:
            continue
    message = f"{_FREE_PORTS_TRIED} ports were tried and none is free; name one: muster up --port N"
    raise Refused(message)


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        message = f"the host {host!r} has no address; set MUSTER_HOST"
        raise Refused(message) from None
    return family, (str(address[0]), port)


def _why_not(host: str, port: int, error: OSError) -> str:
    address = join(host, port)
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use: another process listens at {address}\n"
            f"take other ports with: muster up --port {port + 100}    (or --port 0 for any free)"
        )
    return f"cannot listen at {address}: {os.strerror(error.errno or 0)}"
