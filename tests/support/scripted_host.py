"""A host process that does what its name says, for tests of whatever runs hosts.

A process runs `main`, whoever has made the process for it runs `serve`. `dying` ends at once,
`refusing` says that it can never run, `stubborn` does not end when it is asked to, `parent` starts
another process; any other name just runs. What it knows of itself it writes to
`<MUSTER_TEST_FOLDER>/<name>`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

from muster.model.fleet import HostJob


def main() -> int:
    job = HostJob.from_json(os.environ["MUSTER_HOST_JOB"])
    leave: Future[None] = Future()
    signal.signal(signal.SIGTERM, lambda *_: leave.set_result(None))
    # Beside the main thread, which has to be free for the signal.
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(serve(job, leave)), daemon=True)
    thread.start()
    thread.join()
    return codes[0]


def serve(job: HostJob, leave: Future[None]) -> int:
    nature = job.name.partition("-")[0]
    if nature == "dying":
        return 1
    if nature == "refusing":
        sys.stderr.write("muster: it can never run like this\n")
        sys.stderr.flush()
        return 2
    child = None
    if nature == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]).pid
    known = {"pid": os.getpid(), "agents": job.agents, "child": child}
    fresh = Path(os.environ["MUSTER_TEST_FOLDER"]) / f"{job.name}.new"
    fresh.write_text(json.dumps(known))
    fresh.replace(fresh.with_suffix(""))
    if nature == "stubborn":
        threading.Event().wait()
    leave.result()
    return 0


if __name__ == "__main__":
    sys.exit(main())
