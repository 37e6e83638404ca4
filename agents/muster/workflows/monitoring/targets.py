"""What a target's URL asks for, and which targets a mesh has."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from muster.workflows.monitoring.shapes import Target

TARGETS_MAX: Final = 1_000
SCHEMES: Final = ("http", "https", "tcp", "grpc", "agents")
_PORT_NEEDED: Final = ("tcp", "grpc")
_PATHS: Final = (("/live", True), ("/ready", True), ("/metrics", False))


class TargetError(ValueError):
    """A target that nobody can look at; the message tells a person what to change."""


def parse(url: str) -> Target:
    """A target from its URL. Raises `TargetError`."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise TargetError(f"{url!r}: a target begins with {', '.join(f'{s}://' for s in SCHEMES)}")
    if not parts.netloc:
        raise TargetError(f"{url!r} names nothing after {parts.scheme}://")
    try:
        port = parts.port if parts.scheme != "agents" else None
    except ValueError:
        raise TargetError(f"{url!r} has a port that is no number up to 65535") from None
    if parts.scheme in _PORT_NEEDED and port is None:
        raise TargetError(f"{url!r} needs a port: {parts.scheme}://host:port")
    return Target(url, _name(url))


def _name(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path.strip("/")
    if parts.scheme == "grpc":
        return f"{path or 'all services'} ({parts.netloc})"
    if parts.scheme == "agents":
        return f"agents of kind {parts.netloc}"
    if parts.scheme == "tcp":
        return f"port {parts.port} of {parts.hostname}"
    return f"{parts.netloc}/{path}" if path else parts.netloc


def unique(targets: Iterable[Target]) -> list[Target]:
    """Each URL once, in order. Raises `TargetError` for none, or too many."""
    found = {target.url: target for target in reversed(list(targets))}
    ordered = list(reversed(found.values()))
    if not ordered:
        raise TargetError("there is nothing to look at: name targets")
    if len(ordered) > TARGETS_MAX:
        raise TargetError(f"{len(ordered)} targets are too many: at most {TARGETS_MAX}")
    return ordered


def of_mesh(
    grpc: Sequence[str], http: Sequence[str], services: Sequence[str], kinds: Sequence[str]
) -> Iterator[Target]:
    """The targets of a mesh: its gRPC and HTTP addresses (host:port), with the services that each
    gRPC address has, and the kinds of its agents."""
    for address in grpc:
        for service in ("", "live", *services):
            yield parse(f"grpc://{address}/{service}")
    for address in http:
        for path, content in _PATHS:
            url = f"http://{address}{path}"
            yield Target(url, _name(url), content)
    for address in (*grpc, *http):
        yield parse(f"tcp://{address}")
    for kind in kinds:
        yield parse(f"agents://{kind}")
