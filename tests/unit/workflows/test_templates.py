"""The list of templates, and that their definitions fit their agents."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster.agent import Agent
from muster.agent.capability import Capability, Runs
from muster.runtime.fleet import load_fleet
from muster.workflows import TEMPLATES, Place, Template

EACH = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
CALCULATES = re.compile(r"\$\{(.+?)\}", re.DOTALL)
ROOT = Path(__file__).parents[3]


def agents_of(template: Template) -> dict[str, Agent]:
    module = import_module(template.agents)
    return {name: value for name, value in vars(module).items() if isinstance(value, Agent)}


def capabilities_of(template: Template) -> dict[str, Capability]:
    return {
        capability.name: capability
        for agent in agents_of(template).values()
        for capability in agent.capabilities.values()
    }


def definitions_of(template: Template) -> dict[str, Any]:
    found = [yaml.safe_load(path.read_text()) for path in template.definitions]
    return {definition["name"]: definition for definition in found}


def requests_of(definition: dict[str, Any]) -> list[dict[str, Any]]:
    """Whatever asks for a capability or a workflow: the steps and their compensations."""
    steps = definition["steps"]
    return [*steps, *(step["compensate"] for step in steps if "compensate" in step)]


def schema_of(template: Template, asked: dict[str, Any]) -> dict[str, Any]:
    if "workflow" in asked:
        schema: dict[str, Any] = definitions_of(template)[asked["workflow"]]["input"]
        return schema
    return capabilities_of(template)[asked["capability"]].input


@EACH
def test_every_step_asks_for_something_that_is_there_in_its_terms(template: Template):
    for definition in definitions_of(template).values():
        for asked in requests_of(definition):
            schema = schema_of(template, asked)
            given = set(asked.get("input", {}))
            assert given <= set(schema["properties"]), asked
            assert set(schema.get("required", ())) <= given, asked


@EACH
def test_steps_refer_to_steps_that_they_depend_on(template: Template):
    for definition in definitions_of(template).values():
        before: dict[str, set[str]] = {}
        for step in definition["steps"]:
            needs = set(step.get("depends_on", ()))
            assert needs <= before.keys(), step["name"]
            before[step["name"]] = needs.union(*(before[name] for name in needs))
            said = " ".join(CALCULATES.findall(yaml.safe_dump(step, width=10_000)))
            named = set(re.findall(r"steps\.(\w+)", said))
            assert named <= before[step["name"]], step["name"]
            assert set(re.findall(r"\binput\.(\w+)", said)) <= set(
                definition["input"]["properties"]
            )


@EACH
def test_its_default_input_fits_its_definition(template: Template, tmp_path: Path):
    place = Place(tmp_path, ("127.0.0.1:1",), ("127.0.0.1:2",))
    given = template.default_input(tmp_path, place)
    schema = definitions_of(template)[template.name]["input"]
    assert set(schema["required"]) <= given.keys() <= set(schema["properties"])
    assert given["out_dir"] == str(tmp_path)
    assert template.missing() == []


@EACH
def test_its_fleet_has_agents_for_every_capability(template: Template):
    fleet = load_fleet(template.fleet)
    agents = agents_of(template)
    sources = {source for kind in fleet.kinds for source in kind.capabilities}
    assert sources == {f"{template.agents}:{name}" for name in agents}
    assert {kind.name for kind in fleet.kinds} == {agent.kind for agent in agents.values()}


@EACH
def test_what_computes_runs_in_worker_processes(template: Template):
    runs = {capability.runs for capability in capabilities_of(template).values()}
    assert runs <= {Runs.WORKER, Runs.LOOP}
    assert all(capability.idempotent for capability in capabilities_of(template).values())


def test_listing_the_templates_loads_none_of_their_libraries():
    heavy = sorted({name for template in TEMPLATES.values() for name in template.needs})
    code = f"import sys, muster.workflows; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


def test_loading_the_analysts_waits_for_neither_pandas_nor_matplotlib():
    code = (
        "import sys, muster.workflows.analysis.agents;"
        "print([n for n in ('pandas', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


def test_a_site_is_built_of_muster_s_own_folder_or_of_where_one_is(tmp_path: Path):
    site = TEMPLATES["site"]
    assert site.default_input(tmp_path, Place(tmp_path))["folder"] == str(ROOT)


def test_the_example_names_the_templates():
    example = ROOT / "agents" / "examples" / "workflows.py"
    done = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert all(name in done.stderr for name in TEMPLATES)
