"""The journal says of a cancelled contract that it failed."""

from __future__ import annotations

from muster.scheduler.workflows.run import Run
from muster.scheduler.workflows.runs import Runs
from muster.v1.workflow_run_pb2 import STEP_STATE_CANCELLED, STEP_STATE_FAILED, ItemEnded
from tests.faults.planted import put


def plant() -> None:
    """Takes one state for the other."""
    item_ended = Runs.item_ended

    def mistaken(runs: Runs, run: Run, ended: ItemEnded) -> None:
        if ended.state == STEP_STATE_CANCELLED:
            ended.state = STEP_STATE_FAILED
        item_ended(runs, run, ended)

    put(Runs, "item_ended", mistaken)
