"""Consul: one server that is its own cluster, and keeps its data.

`-dev` would be shorter, and forget everything at each restart. Services with TLS let in whoever
shows a certificate, Consul's probes too: it shows the one that the services are told of.
https://developer.hashicorp.com/consul/docs/reference/agent/configuration-file/tls
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muster.servers.finding import PROGRAMS
from muster.servers.server import HOST, Server, make_folder, write_file

NAME = "consul"
PORTS = 3  # HTTP, then what its servers and agents say to each other

_ANSWER_SECONDS = 2.0
_ANSWER_BYTES_MAX = 4096
# Of one address, and on one machine that is everybody. Its default is 200.
_CONNECTIONS_MAX = 4_000


def prepare(
    folder: Path,
    ports: Sequence[int],
    log: Path,
    environment: Mapping[str, str] = os.environ,
) -> Server:
    """Writes its configuration; `environment` is that of the services. Raises `ServerError`."""
    program = PROGRAMS["consul"].find()
    make_folder(folder)
    file = folder / "consul.json"
    write_file(file, configuration(ports, folder / "data", environment))
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


def configuration(
    ports: Sequence[int], data: Path, environment: Mapping[str, str] | None = None
) -> str:
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
            **_shown(environment or {}),
        },
        indent=1,
    )


def _shown(environment: Mapping[str, str]) -> dict[str, Any]:
    """What it shows to the services that it asks, and whom it believes there; it looks for other
    files as the services do. Nothing where they have no TLS."""
    variables = {"ca_file": "CA", "cert_file": "CERT", "key_file": "KEY"}
    files = {name: environment.get(f"MUSTER_TLS_{each}", "") for name, each in variables.items()}
    if not all(files.values()):
        return {}
    paths = {name: str(Path(file).absolute()) for name, file in files.items()}
    return {
        "tls": {"defaults": paths},
        "enable_agent_tls_for_checks": True,
        "auto_reload_config": True,
    }


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
