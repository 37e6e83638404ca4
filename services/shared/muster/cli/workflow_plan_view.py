"""`muster workflow run --dry-run`: what a run would do, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from muster.cli import text
from muster.cli.messages import message_json
from muster.cli.terminal import out, print_json, say, table
from muster.v1.workflow_service_pb2 import PlannedOutcome

if TYPE_CHECKING:
    from muster.v1.workflow_service_pb2 import PlannedStep, PlanRunResponse

_OUTCOMES = {
    "RUN": ("runs", "green"),
    "SKIP": ("skipped", "bright_black"),
    "DEPENDS": ("depends", "yellow"),
}


def show_plan(name: str, plan: PlanRunResponse, as_json: bool) -> None:
    """Shows the plan. Nothing of it has been recorded."""
    if as_json:
        print_json(message_json(plan))
        return
    columns = [">STAGE", "STEP", "DOES", "OUTCOME", ">ITEMS", ">AGENTS", "<OBSTACLE OR INPUT"]
    rows: list[list[str | Text]] = []
    before = -1
    for step in plan.steps:
        stage = "" if step.stage == before else str(step.stage + 1)
        before = step.stage
        rows.append([stage, *_cells(step)])
    out().print(table(columns, rows))
    obstacles = sum(1 for step in plan.steps if step.obstacle)
    tail = f"; {text.counted(obstacles, 'step')} could not go on" if obstacles else ""
    say(f"{name} version {plan.version}: nothing was started{tail}", style="bright_black")


def _cells(step: PlannedStep) -> list[str | Text]:
    outcome = PlannedOutcome.Name(step.outcome).removeprefix("PLANNED_OUTCOME_")
    word, style = _OUTCOMES.get(outcome, ("unknown", "yellow"))
    needs_agents = step.action not in ("gate", "wait") and (step.agents or step.obstacle)
    last = Text(text.shortened(step.obstacle, 200), "red")
    if not step.obstacle:
        last = Text(text.shortened(step.input, 200), "bright_black")
    return [
        step.name,
        step.action,
        Text(word, style),
        str(step.items) if step.items else "",
        str(step.agents) if needs_agents else "",
        last,
    ]
