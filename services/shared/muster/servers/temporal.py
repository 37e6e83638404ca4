"""Temporal's development server, which keeps its data in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from muster.servers.finding import PROGRAMS
from muster.servers.server import HOST, Server, make_folder

NAME = "temporal"
PORTS = 1  # its HTTP and metrics take whatever is free; nobody of ours asks there

_ANSWER_SECONDS = 2.0
_SERVICE = b"temporal.api.workflowservice.v1.WorkflowService"
# HealthCheckRequest(service=…) and HealthCheckResponse(status=SERVING), as they are on the wire.
_ASK = bytes((0x0A, len(_SERVICE))) + _SERVICE
_SERVING = b"\x08\x01"


def prepare(folder: Path, ports: Sequence[int], log: Path) -> Server:
    """Says how to run it on the data in `folder`. Raises `ServerError`."""
    program = PROGRAMS["temporal"].find()
    make_folder(folder)
    return Server(
        name=NAME,
        words=(
            *(str(program), "server", "start-dev", "--headless"),
            *("--ip", HOST, "--port", str(ports[0])),
            *("--db-filename", str(folder / "temporal.db"), "--log-level", "warn"),
            # A sync of the disk for every task takes half of its time. Without, a crash loses
            # nothing, and what the loss of power takes from it is in the mesh's ledger, from which
            # workers tell it anew.
            *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
        ),
        folder=folder,
        ports=tuple(ports),
        url=f"temporal://{HOST}:{ports[0]}",
        log=log,
        answers=answers,
        dropped=("TEMPORAL_",),
    )


async def answers(address: str) -> bool:
    """Whether its frontend says SERVING, by grpc.health.v1."""
    async with grpc.aio.insecure_channel(address) as channel:
        check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer: bytes = await check(_ASK, timeout=_ANSWER_SECONDS)
        except grpc.RpcError:
            return False
    return answer == _SERVING
