"""What tests of definitions share: a catalogue, and reading and checking in one."""

import json
from typing import Any

from muster.v1.capability_pb2 import Capability, Schema
from muster.v1.workflow_pb2 import Workflow
from muster.workflow.checking import check_workflow
from muster.workflow.source import BadSource, read_workflow


def closed(required: str = "", **properties: Any) -> dict[str, Any]:
    """The schema of an object with these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
ITEM = closed("title score", title=TEXT, score=NUMBER, tag={"enum": ["a", "b"]})
PLANNED = closed("items count", items={"type": "array", "items": ITEM}, count=WHOLE)

TYPES: dict[str, tuple[Any, Any]] = {
    "content.plan": (closed("topics", topics={"type": "array", "items": TEXT}), PLANNED),
    "content.draft": (
        {
            "type": "object",
            "properties": {"item": {"$ref": "#/$defs/Item"}, "tone": {"enum": ["dry", "warm"]}},
            "required": ["item"],
            "additionalProperties": False,
            "$defs": {"Item": ITEM},
        },
        TEXT,
    ),
    "math.root": (closed("n", n=WHOLE, digits={"anyOf": [WHOLE, {"type": "null"}]}), NUMBER),
    "text.length": (closed("text", text=TEXT), WHOLE),
    "any.thing": (None, None),
}


def _schema(value: Any) -> Schema | None:
    return None if value is None else Schema(json_schema=json.dumps(value))


def capability(name: str, version: str) -> Capability | None:
    """From a catalogue whose capabilities all have version 1.0.0."""
    if name not in TYPES or version not in ("", "1", "1.0", "1.0.0"):
        return None
    takes, gives = TYPES[name]
    return Capability(name=name, version="1.0.0", input=_schema(takes), output=_schema(gives))


CHILDREN = {
    "child": """
name: child
input: {type: object, properties: {n: {type: integer}}, required: [n], additionalProperties: false}
steps:
  - {name: root, capability: math.root, input: {n: "${input.n}"}}
output: {root: "${steps.root.output}", n: "${input.n}"}
""",
    "again": """
name: again
steps:
  - {name: on, workflow: content}
""",
}


def workflow(name: str, version: int) -> Workflow | None:
    """One of the registered ones, all in version 1."""
    if name not in CHILDREN or version > 1:
        return None
    return read_workflow(CHILDREN[name]).workflow


def mistakes(text: str) -> list[str]:
    """Everything that is wrong with a definition, as "line: place: message"."""
    try:
        source = read_workflow(text, "w.yaml")
    except BadSource as error:
        found = list(error.mistakes)
    else:
        found = source.located(check_workflow(source.workflow, capability, workflow))
    return [line.removeprefix("w.yaml:") for line in found]
