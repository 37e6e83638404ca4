"""Runs a job's host: in a process of its own (`python -m muster.hosting`), or in a thread of one
that somebody else has made."""

from __future__ import annotations

import asyncio
import logging
import sys
from concurrent.futures import Future

from muster.agent import Host
from muster.agent.host import Superseded
from muster.hosting.loading import LoadError, agents_of_job
from muster.model.errors import MusterError
from muster.model.fleet import HostJob

EXIT_MISCONFIGURED = 2

# What says that the same job would end in the same way again.
REFUSALS = (LoadError, MusterError, Superseded, ValueError)


def host_of_job(job: HostJob) -> Host:
    """The host with all its agents. Raises one of `REFUSALS`."""
    agents = agents_of_job(job)
    return Host(agents, name=job.name, workers=job.workers, leave_seconds=job.leave_seconds)


def serve(job: HostJob, leave: Future[None]) -> int:
    """Runs the host in this thread until `leave` is done, or it ends by itself; returns what would
    be the exit code of a process. The future is the only thing that other threads touch."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    try:
        asyncio.run(_serve(host_of_job(job), leave))
    except REFUSALS as error:
        print(f"muster: {error}", file=sys.stderr, flush=True)  # noqa: T201 - for its log
        return EXIT_MISCONFIGURED
    return 0


async def _serve(host: Host, leave: Future[None]) -> None:
    loop = asyncio.get_running_loop()

    def on_leave(_: Future[None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(host.leave)

    leave.add_done_callback(on_leave)
    await host.run()
