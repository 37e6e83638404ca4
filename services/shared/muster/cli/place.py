"""The mesh that a command is about, and a connection to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from muster.agent.client import Client, connect
from muster.cli.exits import NO_MESH, Trouble, no_mesh
from muster.model import limits
from muster.supervisor.finding import Endpoints, find_data_dir, find_endpoints
from muster.supervisor.state import read_state
from muster.wire.channel import open_channel
from muster.wire.security import find_security


@dataclass(frozen=True)
class Place:
    """Where to look: what the command line says, or None."""

    address: str | None = None
    data_dir: Path | None = None

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.data_dir.expanduser().absolute() if self.data_dir else find_data_dir()

    def endpoints(self) -> Endpoints:
        """The services of the mesh, whether or not it is there."""
        return find_endpoints(self.address, self.folder)


@asynccontextmanager
async def connected(place: Place, *services: str) -> AsyncIterator[Client]:
    """A client of the mesh, once the services that the command needs answer.

    Raises `Trouble` when they do not; by default it is the scheduler that is needed.
    """
    endpoints = place.endpoints()
    addresses = dict.fromkeys(getattr(endpoints, name) for name in services or ("scheduler",))
    for address in addresses:
        await require_answer(address, place)
    # The SDK finds the mesh by the environment, which is this process's own.
    os.environ.update(endpoints.environment)
    async with connect() as client:
        yield client


async def require_answer(address: str, place: Place) -> None:
    """Returns when somebody speaks gRPC at an address; raises `Trouble` when nobody does.

    Nobody there is an answer too, and comes at once; but where a supervisor is about to start the
    service again, that is waited for a little.
    """
    supervised = is_supervised(place)
    if await answers(address, limits.CONNECT_SECONDS, patient=supervised):
        return
    if supervised:
        message = f"the mesh runs, but nothing answers at {address}"
        raise Trouble(message, NO_MESH, "how it is: muster status")
    raise no_mesh(address)


def is_supervised(place: Place) -> bool:
    """Whether the mesh in question is one that runs on the data folder."""
    state = read_state(place.folder)
    if state is None or not state.supervisor.is_running:
        return False
    return str(place.endpoints().scheduler) == state.endpoints["scheduler"]


async def answers(address: str, seconds: float, *, patient: bool = False) -> bool:
    """Whether somebody accepts gRPC connections at an address."""
    security = find_security(os.environ)
    try:
        async with asyncio.timeout(seconds), open_channel(address, security) as channel:
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and not patient:
                    return False
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        return False
    return True
