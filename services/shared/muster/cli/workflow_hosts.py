"""The agents of a workflow that comes with Muster, beside a mesh that runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from muster.cli.exits import FAILED, Trouble
from muster.cli.place import Place
from muster.model import limits

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.model.fleet import Fleet, HostJob

# Agents that are gone when the run has ended: another run does not count on them.
TEMPORARY = {"muster.temporary": "workflow-run"}

Note = Callable[[str], None]


async def are_there(client: Client, fleet: Fleet) -> bool:
    """Whether there are agents of all kinds of the fleet, that stay."""
    wanted = {kind.name for kind in fleet.kinds}
    async for agent in client.agents(kinds=sorted(wanted)):
        labels = dict(agent.spec.labels)
        if not TEMPORARY.items() <= labels.items():
            wanted.discard(agent.spec.kind)
    return not wanted


@asynccontextmanager
async def hosts_beside(place: Place, fleet: Fleet, note: Note) -> AsyncIterator[None]:
    """The fleet's hosts as processes of this one, connected to the mesh; stopped at the end.

    Host and agents are called after this process, so that several can do so at once.
    """
    from muster.backends.pool_base import HostState
    from muster.backends.pool_subprocess.pool import SubprocessPool
    from muster.supervisor.arrival import count_agents
    from muster.supervisor.finding import find_metadata, fleet_identity
    from muster.supervisor.plan import make_folders

    endpoints, jobs = place.endpoints(), _jobs(fleet)
    logs = make_folders(place.folder)
    environment = {**os.environ, **fleet_identity(), **endpoints.environment}
    all_there = asyncio.Event()

    def counted(count: int) -> None:
        if count >= fleet.agents:
            all_there.set()

    async with SubprocessPool(environment, logs) as pool:
        for job in jobs:
            await pool.start(job)
        try:
            async with asyncio.TaskGroup() as tasks:
                names = {job.name for job in jobs}
                counting = tasks.create_task(
                    count_agents(endpoints.registry, find_metadata(), names, counted)
                )
                async with asyncio.timeout(limits.FLEET_CONNECT_SECONDS):
                    await all_there.wait()
                counting.cancel()
        except* TimeoutError:
            refused = [host for host in pool.status() if host.state is HostState.REFUSED]
            name = (refused or pool.status())[0].name
            message = (
                f"the agents of {fleet.name} are not there in time; a host's log: {logs / name}.log"
            )
            raise Trouble(message, FAILED) from None
        note(f"{fleet.agents} agents of {fleet.name} are there, until the run has ended")
        yield


def _jobs(fleet: Fleet) -> list[HostJob]:
    from muster.model.fleet import spread

    own = f"run{os.getpid()}"
    kinds = tuple(replace(kind, labels={**kind.labels, **TEMPORARY}) for kind in fleet.kinds)
    return [
        replace(
            job,
            name=f"{own}-{job.name}",
            groups=tuple(replace(group, prefix=f"{own}-") for group in job.groups),
        )
        for job in spread(replace(fleet, kinds=kinds))
    ]
