"""A step begins when one of the steps that it depends on has ended."""

from __future__ import annotations

from muster.workflow.facts import RunState, StepState
from muster.workflow.machine import Machine
from muster.workflow.steps import StepRun
from tests.faults.planted import put


def plant() -> None:
    """Takes one for all."""

    def may_begin(machine: Machine, step: StepRun) -> bool:
        before = [machine.steps[name].state for name in step.plan.depends_on]
        return (
            step.state is StepState.PENDING
            and machine.state is RunState.RUNNING
            and (not before or StepState.SUCCEEDED in before)
        )

    put(Machine, "_may_begin", may_begin)
