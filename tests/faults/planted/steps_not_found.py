"""After a restart the contracts of steps are not found, and are made again under other names."""

from __future__ import annotations

import os

from muster.scheduler.workflows import contracts
from muster.scheduler.workflows.run import Run
from tests.faults.planted import put


def plant() -> None:
    """Names contracts by the process that makes them."""
    request_id_of = contracts.request_id_of

    def of_this_process(run: Run, step: str, index: int) -> str:
        return f"{request_id_of(run, step, index)}.{os.getpid()}"

    put(contracts, "request_id_of", of_this_process)
