"""Targets that name several places: any of them will do."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from ipaddress import ip_address

from muster.wire.lookup import find, is_lookup

SEPARATOR = ","


def channel_target(targets: str) -> str:
    """What gRPC is told to connect to.

    `targets` is one gRPC target, which stays as it is, or several `host:port` separated by commas.
    Of several, gRPC takes the first that answers, and the next when that is gone. They are in
    random order, so that callers spread over them. Names are looked up now, and for good: what
    moves belongs behind one name that gRPC itself looks up (`dns:///scheduler:7173`), or in a
    directory (`places_of`).
    Raises `ValueError`, for a person to read, where that cannot be.
    """
    places = [each.strip() for each in targets.split(SEPARATOR) if each.strip()]
    if len(places) < 2:
        return targets
    addresses = [_address(place) for place in places]
    versions = {version for version, _ in addresses}
    if len(versions) > 1:
        raise ValueError(f"{targets!r} mixes IPv4 and IPv6; name places of one kind")
    random.shuffle(addresses)
    return f"ipv{versions.pop()}:" + SEPARATOR.join(address for _, address in addresses)


def places_of(target: str) -> str:
    """The places that a target stands for: consul://host:port/muster-scheduler is every scheduler
    that passes there now, see `lookup.find`; any other stays as it is. Raises `ValueError`."""
    if not is_lookup(target):
        return target
    # Nothing listens at port 1: calls fail as to a mesh that is away, and may be made again.
    return one_target(find(target)) or "127.0.0.1:1"


def one_target(places: Iterable[str]) -> str:
    """One target of many `host:port`, for `channel_target`; empty where there are none. IPv6 is
    left out where there is anything else, because gRPC does not mix them."""
    found = sorted(places)
    plain = [place for place in found if not place.startswith("[")]
    return SEPARATOR.join(plain or found)


def first_host(targets: str) -> str:
    """The host of the first of several places, as it is written."""
    host = targets.partition(SEPARATOR)[0].strip().rpartition(":")[0]
    return host.removeprefix("[").removesuffix("]")


def _address(place: str) -> tuple[int, str]:
    """The IP version of a `host:port`, and the same with the host as a number."""
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal():
        raise ValueError(f"{place!r} is no place; write host:port, and [address]:port for IPv6")
    try:
        address = ip_address(host)
    except ValueError:
        try:
            found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError:
            raise ValueError(f"{place!r}: the host is unknown") from None
        address = ip_address(found[0][4][0])
    return address.version, f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
