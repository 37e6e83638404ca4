"""A host of a pool: `python -m muster.hosting`, with its job in MUSTER_HOST_JOB.

It ends with code 2, which says that another start would not help, when its agents cannot be loaded
the mesh refuses them from the start, or another host has taken its name.
"""

from __future__ import annotations

import logging
import os
import sys

from muster.agent import Host
from muster.agent.host import Superseded
from muster.hosting.loading import LoadError, agents_of_job
from muster.model import limits
from muster.model.errors import MusterError
from muster.model.fleet import HostJob

EXIT_MISCONFIGURED = 2
JOB_VARIABLE = "MUSTER_HOST_JOB"
LEAVE_SECONDS = 0.8 * limits.HOST_STOP_SECONDS  # before the pool kills


def main() -> int:
    """Runs the host until it is told to stop; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        job = HostJob.from_json(os.environ.get(JOB_VARIABLE, ""))
        host = Host(
            agents_of_job(job), name=job.name, workers=job.workers, leave_seconds=LEAVE_SECONDS
        )
        host.run_forever()
    except (LoadError, MusterError, Superseded, ValueError) as error:
        print(f"muster: {error}", file=sys.stderr)  # noqa: T201 - for whoever reads the log
        return EXIT_MISCONFIGURED
    return 0


if __name__ == "__main__":
    sys.exit(main())
