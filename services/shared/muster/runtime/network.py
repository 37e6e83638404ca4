"""Binding ports, with errors that say what is wrong."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

from muster.runtime.config import ConfigError


def require_loopback(host: str) -> None:
    """Raises `ConfigError` unless every address of `host` stays on this machine."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise ConfigError(f"the host {host!r} has no address; set MUSTER_HOST") from None
    addresses = {str(address[0]) for *_, address in found}
    outside = sorted(each for each in addresses if not ip_address(each.split("%")[0]).is_loopback)
    if outside:
        raise ConfigError(
            f"refusing to listen on {host!r} ({', '.join(outside)}): without TLS anybody who can "
            "reach it could pose as anybody. Listen on 127.0.0.1, or set MUSTER_TLS_CERT, "
            "MUSTER_TLS_KEY and MUSTER_TLS_CA; for files to begin with: muster certs"
        )


def is_loopback(host: str) -> bool:
    """Whether what is sent to this name or address stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any free one. Raises `ConfigError` where it is taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise ConfigError(_why_not(host, port, error)) from None


def require_free(host: str, port: int) -> None:
    """Raises `ConfigError` where another process listens already.

    gRPC would say no more than that it failed, so this asks before it.
    """
    if port:
        listening_socket(host, port).close()


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why_not(host: str, port: int, error: OSError) -> str:
    address = join_address(host, port)
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use: another process listens there; stop it or take another port"
    if error.errno == errno.EACCES:
        return f"{address} may not be used by this user; take a port above 1023"
    return f"cannot listen on {address}: {error.strerror}"
