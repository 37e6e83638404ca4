"""NATS with JetStream, for one machine: everything acknowledged is on disk.

Its own default writes to disk every two minutes, and so loses what it has acknowledged when the
machine dies. It listens on loopback for whoever is there, without a password: what it carries are
events, which the ledger has too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from muster.model import limits
from muster.servers.finding import PROGRAMS
from muster.servers.server import HOST, Server, make_folder, write_file

NAME = "nats"
PORTS = 1

_ANSWER_SECONDS = 2.0
_CONFIGURATION = """\
# Written at every start; changes are lost.
server_name: muster
listen: {address}
max_payload: {payload_bytes}
jetstream {{
  store_dir: {store}
  # Before it acknowledges, not every two minutes.
  sync_interval: always
}}
"""


def prepare(folder: Path, ports: Sequence[int], log: Path) -> Server:
    """Writes its configuration. Raises `ServerError`."""
    program = PROGRAMS["nats-server"].find()
    make_folder(folder)
    file = folder / "nats.conf"
    write_file(file, configuration(ports[0], folder))
    return Server(
        name=NAME,
        words=(str(program), "--config", str(file)),
        folder=folder,
        ports=tuple(ports),
        url=f"nats://{HOST}:{ports[0]}",
        log=log,
        answers=answers,
    )


def configuration(port: int, store: Path) -> str:
    """Its configuration file; it keeps its data in `store`/jetstream."""
    return _CONFIGURATION.format(
        address=f"{HOST}:{port}",
        payload_bytes=limits.MESSAGE_BYTES_MAX,
        store=json.dumps(str(store)),
    )


async def answers(address: str) -> bool:
    """Whether it greets, and with JetStream.

    https://docs.nats.io/reference/reference-protocols/nats-protocol: the server speaks first,
    `INFO {…}`, in clear also where it then asks for TLS or a password.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                greeting = await reader.readline()
            finally:
                writer.close()
        verb, _, told = greeting.partition(b" ")
        return verb == b"INFO" and json.loads(told).get("jetstream") is True
    except (OSError, TimeoutError, ValueError):
        return False
