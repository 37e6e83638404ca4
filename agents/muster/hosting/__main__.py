"""A host of a pool: `python -m muster.hosting`, with its job in MUSTER_HOST_JOB.

It ends with code 2, which says that another start would not help, when its agents cannot be loaded
the mesh refuses them from the start, or another host has taken its name.
"""

from __future__ import annotations

import logging
import os
import sys

from muster.hosting.running import EXIT_MISCONFIGURED, REFUSALS, host_of_job
from muster.model.fleet import HostJob

JOB_VARIABLE = "MUSTER_HOST_JOB"


def main() -> int:
    """Runs the host until it is told to stop; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        host_of_job(HostJob.from_json(os.environ.get(JOB_VARIABLE, ""))).run_forever()
    except REFUSALS as error:
        print(f"muster: {error}", file=sys.stderr)  # noqa: T201 - for whoever reads the log
        return EXIT_MISCONFIGURED
    return 0


if __name__ == "__main__":
    sys.exit(main())
