"""A host process that does what its name says, for tests of whatever runs hosts.

`dying` ends at once, `refusing` says that it can never run, `stubborn` does not end when it is
asked to, `parent` starts another process; any other name just runs. What it knows of itself it
writes to `<MUSTER_TEST_FOLDER>/<name>`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from muster.model.fleet import HostJob


def main() -> int:
    job = HostJob.from_json(os.environ["MUSTER_HOST_JOB"])
    nature = job.name.partition("-")[0]
    if nature == "dying":
        return 1
    if nature == "refusing":
        sys.stderr.write("muster: it can never run like this\n")
        return 2
    if nature == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child = None
    if nature == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]).pid
    known = {"pid": os.getpid(), "agents": job.agents, "child": child}
    fresh = Path(os.environ["MUSTER_TEST_FOLDER"]) / f"{job.name}.new"
    fresh.write_text(json.dumps(known))
    fresh.replace(fresh.with_suffix(""))
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
