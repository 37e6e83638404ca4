"""What a definition refers to outside itself: capabilities, other workflows, and their types."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jsonschema_rs

from muster.v1.capability_pb2 import Capability, Schema
from muster.v1.workflow_pb2 import Step, Workflow
from muster.wire.jsontext import json_value
from muster.workflow.references import STATES
from muster.workflow.shapes import (
    ANYTHING,
    INTEGER,
    NULL,
    STRING,
    Shape,
    list_of,
    object_with,
    shape_of_schema,
    union,
)

CHILDREN_MAX = 256  # workflows that are looked at below one

Capabilities = Callable[[str, str], Capability | None]
Workflows = Callable[[str, int], Workflow | None]


class Lookups:
    """Asks for each capability and workflow once."""

    def __init__(self, capabilities: Capabilities, workflows: Workflows) -> None:
        self._ask_capabilities = capabilities
        self._ask_workflows = workflows
        self._capabilities: dict[tuple[str, str], Capability | None] = {}
        self._workflows: dict[tuple[str, int], Workflow | None] = {}
        self.outputs: dict[tuple[str, int], Shape] = {}  # of those whose output was asked for

    def capability(self, name: str, version: str) -> Capability | None:
        """The capability that a selector means; None where nobody has offered one."""
        key = (name, version)
        if key not in self._capabilities:
            self._capabilities[key] = self._ask_capabilities(name, version)
        return self._capabilities[key]

    def workflow(self, name: str, version: int) -> Workflow | None:
        """A version of a workflow, 0 for the newest; None where there is none."""
        key = (name, version)
        if key not in self._workflows:
            self._workflows[key] = self._ask_workflows(name, version)
        return self._workflows[key]

    def way_back(self, workflow: Workflow) -> list[str]:
        """The workflows by which one reaches itself, from and to it; empty where it does not."""
        pending = [(each, [workflow.name]) for each in _children(workflow)]
        seen: set[tuple[str, int]] = set()
        while pending:
            (name, version), way = pending.pop(0)
            if name == workflow.name:
                return [*way, name]
            if (name, version) in seen or len(seen) >= CHILDREN_MAX:
                continue
            seen.add((name, version))
            child = self.workflow(name, version)
            if child is not None:
                pending += [(each, [*way, name]) for each in _children(child)]
        return []


def _children(workflow: Workflow) -> list[tuple[str, int]]:
    return [
        (step.workflow.name, step.workflow.version)
        for step in workflow.steps
        if step.HasField("workflow")
    ]


# --- schemas --------------------------------------------------------------------------------------


class BadSchema(ValueError):
    """A schema cannot be used."""


def _refuse_remote(uri: str) -> Any:
    message = f"the reference {uri!r} is remote, and nothing is fetched"
    raise ValueError(message)


def validator_of(schema: Schema) -> Any:
    """What checks values against a JSON Schema; None for other types. Raises `BadSchema`."""
    if schema.WhichOneof("kind") != "json_schema":
        return None
    try:
        parsed = json_value(schema.json_schema)
        return jsonschema_rs.Draft202012Validator(parsed, retriever=_refuse_remote)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        text = (str(error).splitlines() or ["it cannot be read"])[0]
        raise BadSchema(text.rpartition("ValueError: ")[2][:200]) from None


def shape_of(schema: Schema) -> Shape:
    """What is known of values of a type. Of protobuf's types nothing is: their JSON has two names
    for most fields and several forms for some types, and the contract checks it all the same."""
    kind = schema.WhichOneof("kind")
    return shape_of_schema(schema.json_schema) if kind == "json_schema" else ANYTHING


# --- what steps give back -------------------------------------------------------------------------

_STATE = Shape({"type": "string", "enum": list(STATES)})
_FAILURE = union((object_with({"code": STRING, "message": STRING}), NULL))
_RUN = object_with({"id": STRING, "workflow": STRING, "version": INTEGER, "start_time": STRING})


class Shapes:
    """What is known of a workflow's variables."""

    def __init__(self, workflow: Workflow, lookups: Lookups) -> None:
        self._workflow = workflow
        self._lookups = lookups

    @cached_property
    def roots(self) -> dict[str, Shape]:
        """The variables that all expressions have. What is wrong with names is not said here."""
        steps = {step.name: self._step(step) for step in self._workflow.steps}
        return {
            "input": shape_of(self._workflow.input),
            "run": _RUN,
            "steps": Shape({"type": "object", "properties": steps}),
        }

    def _step(self, step: Step) -> Shape:
        output = self.output_of(step)
        if step.for_each:
            output = list_of(output)
        return Shape(
            {
                "type": "object",
                "properties": {"output": output, "state": _STATE, "failure": _FAILURE},
            }
        )

    def output_of(self, step: Step) -> Shape:
        """What one item of a step gives back."""
        match step.WhichOneof("action"):
            case "capability":
                found = self._lookups.capability(step.capability.name, step.capability.version)
                return ANYTHING if found is None else shape_of(found.output)
            case "gate":
                return shape_of(step.gate.answer) if step.gate.HasField("answer") else STRING
            case "wait":
                return NULL if step.wait.WhichOneof("until") == "duration" else ANYTHING
            case "workflow":
                return self._child(step.workflow.name, step.workflow.version)
        return ANYTHING

    def _child(self, name: str, version: int) -> Shape:
        outputs, key = self._lookups.outputs, (name, version)
        if key not in outputs:
            outputs[key] = ANYTHING  # as far as it itself is concerned, if it runs itself
            child = self._lookups.workflow(name, version)
            if child is not None and len(outputs) <= CHILDREN_MAX:
                outputs[key] = Shapes(child, self._lookups).output
        return outputs[key]

    @property
    def output(self) -> Shape:
        """What the workflow gives back, as far as its template tells."""
        from muster.workflow.template import BadTemplate, Template
        from muster.workflow.typings import Typing, shape_of_part

        if not self._workflow.output:
            return NULL
        try:
            part = Template(self._workflow.output).part
        except BadTemplate:
            return ANYTHING
        return shape_of_part(part, lambda _: Typing(self.roots, lambda _: None))
