"""What the pool and its driver say to each other: lines of JSON on a Unix socket.

to the driver:   {"do": "start", "name": …, "job": …} · {"do": "stop", "name": …, "grace": …}
                 {"do": "hurry"}
to the pool:     {"say": "change", "name": …, "state": …, "starts": …, …}
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from typing import Any

from muster.backends.pool_subprocess.kept import Change, KeptState

LINE_BYTES_MAX = 4 * 1024 * 1024  # a job names kinds, not agents: some KB


@dataclass(frozen=True)
class Settings:
    """What a driver is started with, as JSON in SETTINGS_VARIABLE."""

    socket: str
    address: str
    # Of the cluster; empty: one of our own, on this machine.

    namespace: str
    # Of the actors' names: the same for every driver of one pool.

    folder: str
    # For what a Ray of our own keeps.

    logs: str
    working_folder: str
    # Of the hosts that run on this machine.

    module: str
    # What the actors run: `serve(job, leave)` of this module.

    cpus: float
    # That each host reserves in the cluster.

    pause_seconds_max: float
    environment: dict[str, str]
    # Of the hosts, as far as it is not that of the process that Ray gives them.


SETTINGS_VARIABLE = "MUSTER_RAY_DRIVER"


def to_line(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message, ensure_ascii=False).encode() + b"\n"


async def read_message(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message; None when the other side is gone."""
    try:
        line = await reader.readline()
        return dict(json.loads(line)) if line.endswith(b"\n") else None
    except (ConnectionError, ValueError):
        return None


def message_of_change(change: Change) -> dict[str, Any]:
    """A change as a message."""
    return {"say": "change", **asdict(change), "state": change.state.value}


def change_of_message(message: dict[str, Any]) -> Change:
    """The change that `message_of_change` wrote."""
    said = {key: value for key, value in message.items() if key != "say"}
    return Change(**{**said, "state": KeptState(said["state"])})
