"""Consul: one server that is its own cluster, and keeps its data.

`-dev` would be shorter, and forget everything at each restart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from muster.servers.finding import PROGRAMS
from muster.servers.server import HOST, Server, make_folder, write_file

NAME = "consul"
PORTS = 3  # HTTP, then what its servers and agents say to each other

_ANSWER_SECONDS = 2.0
_ANSWER_BYTES_MAX = 4096
# Of one address, and on one machine that is everybody. Its default is 200.
_CONNECTIONS_MAX = 4_000


def prepare(folder: Path, ports: Sequence[int], log: Path) -> Server:
    """Writes its configuration. Raises `ServerError`."""
    program = PROGRAMS["consul"].find()
    make_folder(folder)
    file = folder / "consul.json"
    write_file(file, configuration(ports, folder / "data"))
    return Server(
        name=NAME,
        words=(str(program), "agent", "-config-file", str(file)),
        folder=folder,
        ports=tuple(ports),
        url=f"consul://{HOST}:{ports[0]}",
        log=log,
        answers=answers,
        dropped=("CONSUL_",),
    )


def configuration(ports: Sequence[int], data: Path) -> str:
    """Its configuration file, as JSON."""
    http, server, serf = ports
    off = -1
    return json.dumps(
        {
            "server": True,
            "bootstrap_expect": 1,
            "node_name": "muster",
            "data_dir": str(data),
            "bind_addr": HOST,
            "client_addr": HOST,
            "ports": {
                "http": http,
                "server": server,
                "serf_lan": serf,
                "serf_wan": off,
                "dns": off,
                "grpc": off,
                "grpc_tls": off,
            },
            "limits": {"http_max_conns_per_client": _CONNECTIONS_MAX},
            # Elections as in production; the default is meant for the smallest machines.
            "performance": {"raft_multiplier": 1},
            "disable_update_check": True,
            "log_level": "warn",
        },
        indent=1,
    )


async def answers(address: str) -> bool:
    """Whether it has a leader: before that it neither takes nor finds anything.

    https://developer.hashicorp.com/consul/api-docs/status: an empty string while there is none.
    """
    host, _, port = address.rpartition(":")
    ask = f"GET /v1/status/leader HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(ask.encode())
                answer = await reader.read(_ANSWER_BYTES_MAX)
            finally:
                writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.startswith(b"HTTP/1.1 200") and json.loads(body) != ""
    except (OSError, TimeoutError, ValueError):
        return False
