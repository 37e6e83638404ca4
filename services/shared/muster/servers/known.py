"""The servers that Muster can run, by the name that `muster up --with` takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from muster.servers import consul, nats, postgres, temporal
from muster.servers.server import HOST, Server

_CONNECT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One of them."""

    name: str
    ports: int
    # How many it listens at; clients connect to the first.

    prepare: Callable[[Path, Sequence[int], Path], Server]
    # Takes the folder for its data, its ports and its log; blocks, and raises `ServerError`.

    answers: Callable[[str], Awaitable[bool]]
    variable: str | None = None
    # What tells our services where it is; None: nobody asks yet.

    schemes: tuple[str, ...] = ()
    # Of the variable's value, where it names a server of this kind.

    port_default: int = 0
    is_place: bool = False
    # Whether the variable may hold host:port without a scheme.

    def elsewhere(self, environment: Mapping[str, str]) -> str | None:
        """The address of the server of this kind that the environment names, if it names one."""
        url = _told(environment.get(self.variable, "")) if self.variable else ""
        if url and self.is_place and "://" not in url:
            url = f"{self.schemes[0]}://{url}"
        if url.partition("://")[0] not in self.schemes:
            return None
        # Several hosts may be named; the first stands for all.
        host = urlsplit(url).netloc.rpartition("@")[2].partition(",")[0]
        has_port = host.rpartition(":")[2].isdigit()
        return host if has_port else f"{host or HOST}:{self.port_default}"


# In the order in which they are told to people.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            postgres.NAME,
            postgres.PORTS,
            postgres.prepare,
            postgres.answers,
            "MUSTER_LEDGER",
            ("postgresql", "postgres"),
            5432,
        ),
        Kind(
            nats.NAME,
            nats.PORTS,
            nats.prepare,
            nats.answers,
            "MUSTER_BUS",
            ("nats", "tls"),
            4222,
        ),
        Kind(
            consul.NAME,
            consul.PORTS,
            consul.prepare,
            consul.answers,
            "MUSTER_DIRECTORY",
            ("consul", "consuls", "consul+https"),
            8500,
        ),
        Kind(
            temporal.NAME,
            temporal.PORTS,
            temporal.prepare,
            temporal.answers,
            "MUSTER_TEMPORAL",
            ("temporal",),
            7233,
            is_place=True,
        ),
    )
}


def _told(text: str) -> str:
    """What `file:PATH` refers to, as `muster.runtime.places` has it; other text as it is. Nothing
    where it cannot be read: services say so themselves."""
    if not text.startswith("file:"):
        return text
    try:
        return Path(text.removeprefix("file:")).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


async def accepts(address: str) -> bool:
    """Whether somebody takes connections at an address: all that can be asked of another's server.

    What it speaks there, and to whom, is between it and its clients.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True
