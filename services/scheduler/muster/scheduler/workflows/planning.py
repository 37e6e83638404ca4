"""What a run would do, as far as that can be known before: a dry run."""

from __future__ import annotations

import re

from muster.model.errors import NotFound
from muster.model.versions import parse_selector
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.messages import action_of
from muster.scheduler.workflows.versions import Version
from muster.v1.payload_pb2 import Payload
from muster.v1.workflow_pb2 import Step
from muster.v1.workflow_service_pb2 import (
    PLANNED_OUTCOME_DEPENDS,
    PLANNED_OUTCOME_RUN,
    PLANNED_OUTCOME_SKIP,
    PlannedStep,
    PlanRunResponse,
)
from muster.wire.jsontext import json_value
from muster.workflow.scope import Scope, Unevaluable, Unread


def plan_run(scheduler: Scheduler, version: Version, given: Payload) -> PlanRunResponse:
    """The steps in the order in which they can begin. Raises what is wrong with the input."""
    version.check_input(given)
    scope = Scope(
        {"id": "0" * 16, "workflow": version.workflow.name, "version": version.number},
        _value(given),
        {},
    )
    stages = _stages(version)
    reply = PlanRunResponse(version=version.number)
    for name in sorted(stages, key=lambda name: stages[name]):
        step = version.steps[name]
        planned = reply.steps.add(name=name, stage=stages[name], action=action_of(step))
        planned.depends_on.extend(step.depends_on)
        _fill(planned, version, step, scope)
        _count_agents(planned, scheduler, version, step)
    return reply


def _value(given: Payload) -> object:
    kind = given.WhichOneof("content")
    if kind is None:
        return {}
    return json_value(given.json) if kind == "json" else Unread(given)


def _stages(version: Version) -> dict[str, int]:
    """How many steps must follow each other before each can begin."""
    stages: dict[str, int] = {}
    left = dict(version.steps)
    while left:
        ready = [n for n, step in left.items() if all(d in stages for d in step.depends_on)]
        for name in ready:
            before = [stages[each] for each in left[name].depends_on]
            stages[name] = max(before, default=-1) + 1
        for name in ready:
            del left[name]
    return stages


def _fill(planned: PlannedStep, version: Version, step: Step, scope: Scope) -> None:
    """What expressions that need the input alone amount to."""
    definition, name = version.definition, step.name
    if _mentions_steps(step.when) or _mentions_steps(step.for_each):
        unsure = _mentions_steps(step.when)
        planned.outcome = PLANNED_OUTCOME_DEPENDS if unsure else PLANNED_OUTCOME_RUN
        return
    try:
        beginning = definition.begin(name, scope)
        planned.outcome = PLANNED_OUTCOME_SKIP if beginning.skipped else PLANNED_OUTCOME_RUN
        planned.items = 0 if beginning.skipped else beginning.count
        fed = step.WhichOneof("action") in _FED and not _mentions_steps(step.input)
        if beginning.skipped or not beginning.count or not fed:
            return
        item = beginning.items[0] if beginning.items else None
        made = definition.input_of(name, scope, item, 0)
        planned.input = made if isinstance(made, str) else made.json
    except Unevaluable as error:
        planned.obstacle = str(error)


_FED = ("capability", "workflow")
_STEPS = re.compile(r"\bsteps\b")


def _mentions_steps(text: str) -> bool:
    """Whether an expression or template may look at other steps."""
    return bool(_STEPS.search(text))


def _count_agents(planned: PlannedStep, scheduler: Scheduler, version: Version, step: Step) -> None:
    if not step.HasField("capability"):
        return
    wanted = step.capability
    try:
        selector, _ = scheduler.catalogue.resolve(version.tenant, wanted.name, wanted.version)
    except NotFound as error:
        planned.obstacle = planned.obstacle or error.message
        return
    parsed = parse_selector(selector)
    planned.agents = sum(
        1
        for host in scheduler.core.fleet.hosts.values()
        if host.tenant == version.tenant
        for agent in host.agents.values()
        if agent.version_for(wanted.name, parsed) is not None
    )
    if not planned.agents:
        planned.obstacle = planned.obstacle or f"no agent offers {wanted.name} now: it would wait"
