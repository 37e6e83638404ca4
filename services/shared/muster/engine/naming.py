"""What things are called in Temporal. A change here loses what runs there under the old name."""

from __future__ import annotations

TASK_QUEUE = "muster"
RUN = "muster.Run"  # the type of a run's workflow
SIGNAL = "entries"
STATE = "state"
LOAD = "muster.load"
PERFORM = "muster.perform"

_PREFIX = "muster-"


def workflow_id(run_id: str) -> str:
    """The id of a run's workflow."""
    return _PREFIX + run_id


def run_id_of(workflow_id: str) -> str:
    """The run that a workflow is of; empty for one that is of none."""
    return workflow_id.removeprefix(_PREFIX) if workflow_id.startswith(_PREFIX) else ""
