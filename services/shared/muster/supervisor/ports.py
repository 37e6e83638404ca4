"""Which ports a mesh takes: those that were asked for, or any that are free."""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from muster.servers.server import HOST
from muster.supervisor.plan import Backend, Refused, Service, join

_FREE_PORTS = range(26_000, 32_000)
_FREE_PORTS_TRIED = 100


class _Taken(Refused):
    """The port is somebody else's."""


def choose_ports(
    services: Sequence[Service],
    backends: Sequence[Backend] = (),
    claims: ExitStack | None = None,
) -> tuple[list[Service], list[Backend]]:
    """The same with free ports where they asked for any. No other mesh chooses one of those until
    `claims` is closed, also while nobody listens there.

    Raises `Refused` when a port that was asked for is in use. Another process may still take a
    port before its owner does; then the owner says so.
    """
    with ExitStack() as held:
        kept = held if claims is None else claims

        def hold(host: str, port: int | None) -> int | None:
            return _hold(held, kept, host, port)

        return (
            [
                replace(
                    each,
                    grpc_port=hold(each.host, each.grpc_port) or 0,
                    http_port=hold(each.host, each.http_port),
                )
                for each in services
            ],
            [
                replace(each, ports=tuple(hold(HOST, port) or 0 for port in each.ports))
                for each in backends
            ],
        )


def _hold(held: ExitStack, claims: ExitStack, host: str, port: int | None) -> int | None:
    if port is None:
        return None
    if port == 0:
        return _hold_any(held, claims, host)
    return _listen(held, host, port)


def _listen(held: ExitStack, host: str, port: int) -> int:
    family, address = _resolved(host, port)
    try:
        listener = held.enter_context(socket.create_server(address, family=family))
    except OSError as error:
        raise _Taken(_why_not(host, port, error)) from None
    return int(listener.getsockname()[1])


def _hold_any(held: ExitStack, claims: ExitStack, host: str) -> int | None:
    """A free port that no system gives to outgoing connections.

    One of those could be gone while a service is being started again, and might even be taken by
    the very connection that looks for the service.
    """
    for port in random.sample(_FREE_PORTS, _FREE_PORTS_TRIED):
        with ExitStack() as claim:
            try:
                _claim(claim, port)
                _listen(held, host, port)
            except _Taken:
                continue
            claims.push(claim.pop_all())
            return port
    message = f"{_FREE_PORTS_TRIED} ports were tried and none is free; name one: muster up --port N"
    raise Refused(message)


def _claim(claim: ExitStack, port: int) -> None:
    """Makes a port ours before anybody listens there. Else two meshes that start at the same time
    could choose the same, and the one whose service comes second would take the other's for its
    own. Raises `_Taken`."""
    if sys.platform != "linux":
        return
    # A name that is gone with its process, and is known where the port is: in this network.
    name = claim.enter_context(socket.socket(socket.AF_UNIX))
    try:
        name.bind(f"\0muster-port-{port}")
    except OSError:
        raise _Taken(f"port {port} was chosen by another mesh") from None


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
