"""What was done is undone in the order in which it was done."""

from __future__ import annotations

from muster.workflow.steps import StepRun
from tests.faults.planted import put


def plant() -> None:
    """Counts the steps that succeed backwards."""
    order = vars(StepRun)["order"]

    def backwards(step: StepRun, number: int) -> None:
        order.__set__(step, -number)

    put(StepRun, "order", property(order.__get__, backwards))
