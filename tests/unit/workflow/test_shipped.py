"""The definitions that ship with Muster, against the agents that do them."""

import json
from importlib import import_module

import jsonschema_rs
import pytest

from muster.agent import Agent
from muster.agent.spec import capability_message
from muster.v1.capability_pb2 import Capability
from muster.v1.workflow_pb2 import Workflow
from muster.workflow import messages
from muster.workflow.checking import check_workflow
from muster.workflow.published import workflow_schema
from muster.workflow.source import Source, read_workflow, to_yaml
from muster.workflows import TEMPLATES, Template
from tests.sources import files

EACH = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


def offered(template: Template) -> dict[str, Capability]:
    """What the template's agents offer, as they tell the mesh."""
    found = vars(import_module(template.agents)).values()
    return {
        capability.name: capability_message(capability)
        for agent in found
        if isinstance(agent, Agent)
        for capability in agent.capabilities.values()
    }


def sources(template: Template) -> dict[str, Source]:
    read = [read_workflow(path.read_text(), path.name) for path in template.definitions]
    return {source.workflow.name: source for source in read}


def problems(template: Template, source: Source) -> list[str]:
    catalogue, known = offered(template), sources(template)

    def registered(name: str, version: int) -> Workflow | None:
        return known[name].workflow if name in known else None

    found = check_workflow(source.workflow, lambda name, _: catalogue.get(name), registered)
    return source.located(found)


@EACH
def test_it_passes_all_checks_with_its_own_agents(template: Template) -> None:
    for source in sources(template).values():
        assert problems(template, source) == []


@EACH
def test_it_fits_the_published_schema_and_survives_being_written(template: Template) -> None:
    validator = jsonschema_rs.Draft202012Validator(workflow_schema())
    for source in sources(template).values():
        assert validator.is_valid(messages.plain(source.workflow))
        assert read_workflow(to_yaml(source.workflow)).workflow == source.workflow


@EACH
def test_a_member_that_its_agents_do_not_take_is_found(template: Template) -> None:
    for source in sources(template).values():
        for number, step in enumerate(source.workflow.steps):
            if not step.input or not step.HasField("capability"):
                continue
            wrong = json.loads(step.input) | {"unheard_of": 1}
            step.input, before = json.dumps(wrong), step.input
            place = f"steps[{number}].input.unheard_of: {step.capability.name}: "
            assert any(place in line for line in problems(template, source)), place
            step.input = before


def test_all_shipped_definitions_are_templates() -> None:
    kept = {str(path) for template in TEMPLATES.values() for path in template.definitions}
    found = {name for name in files() if name.startswith("agents/") and name.endswith(".yaml")}
    agents = "agents/examples/modes/"
    wanted = {name for name in found if not name.endswith("fleet.yaml")}
    wanted = {name for name in wanted if not name.startswith(agents)}
    assert wanted == {name for name in wanted if any(path.endswith(name) for path in kept)}
