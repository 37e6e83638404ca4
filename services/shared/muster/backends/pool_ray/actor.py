"""What runs in an actor's process: a host, with everything that a host process has.

The host has an event loop of its own in a thread of its own. Ray's threads are native and take the
GIL for a call only; what computes runs in the host's worker processes, as everywhere.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from concurrent.futures import Future

import ray

from muster.model.fleet import HostJob


class HostActor:
    """One host. Its methods run in threads beside each other; `run` takes one for good."""

    def __init__(self) -> None:
        self._leave: Future[None] = Future()

    def begin(self) -> tuple[int, str, str]:
        """The process's number, its node's id and address. From now on the process leads a group
        of its own, so that everything that it starts can be ended with it."""
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        return os.getpid(), ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def run(
        self, module: str, job: str, environment: Mapping[str, str], folder: str, log: str
    ) -> int:
        """Runs the job until it is told to leave, or it ends by itself; the exit code that its
        process would have. It runs in `folder` and writes to `log`, if these are named."""
        os.environ.update(environment)
        if folder:
            os.chdir(folder)
        if log:
            _write_to(log)
        code = importlib.import_module(module).serve(HostJob.from_json(job), self._leave)
        sys.stdout.flush()
        sys.stderr.flush()
        return int(code)

    def leave(self) -> None:
        """Lets the host finish what it holds, and end."""
        if not self._leave.done():
            self._leave.set_result(None)


def _write_to(log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
