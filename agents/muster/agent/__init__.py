"""Write agents, and ask the mesh for work.

    from muster.agent import Agent

    agent = Agent("summarizer")

    @agent.capability("text.summarize")
    async def summarize(text: str, limit: int = 200) -> str:
        return text[:limit]

    if __name__ == "__main__":
        agent.run()

and from another program:

    from muster.agent import connect

    async with connect() as mesh:
        print(await mesh.call("text.summarize", {"text": "…"}))

Names are loaded when they are first used: a worker process needs no gRPC, an agent no client.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muster.agent.agent import Agent
    from muster.agent.blob import Blob
    from muster.agent.client import Ask, Client, call_sync, connect
    from muster.agent.context import Context, SyncContext
    from muster.agent.delegation import Call
    from muster.agent.failures import (
        AttemptCancelled,
        ChildFailed,
        ContractFailed,
        Failed,
        RunFailed,
    )
    from muster.agent.handle import Handle
    from muster.agent.host import Host, Superseded
    from muster.agent.runs import RunHandle
    from muster.agent.topics.event import Event
    from muster.agent.workflow import Workflow

# Hosts start worker processes beside live calls, and those only ever exec. gRPC's fork handlers,
# which uvloop's way to spawn runs, may wait for its threads for ever. Read when gRPC is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

_HOMES = {
    "Agent": "agent",
    "Ask": "client",
    "AttemptCancelled": "failures",
    "Blob": "blob",
    "Call": "delegation",
    "ChildFailed": "failures",
    "Client": "client",
    "Context": "context",
    "ContractFailed": "failures",
    "Event": "topics.event",
    "Failed": "failures",
    "Handle": "handle",
    "Host": "host",
    "RunFailed": "failures",
    "RunHandle": "runs",
    "Superseded": "host",
    "SyncContext": "context",
    "Workflow": "workflow",
    "call_sync": "client",
    "connect": "client",
}

__all__ = [
    "Agent",
    "Ask",
    "AttemptCancelled",
    "Blob",
    "Call",
    "ChildFailed",
    "Client",
    "Context",
    "ContractFailed",
    "Event",
    "Failed",
    "Handle",
    "Host",
    "RunFailed",
    "RunHandle",
    "Superseded",
    "SyncContext",
    "Workflow",
    "call_sync",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
