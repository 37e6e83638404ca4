"""How the fields of a definition are written as YAML or JSON: the one source of its reading, its
writing and its JSON Schema.

A message is an object whose keys are its fields. Some types have a form of their own: durations are
"1h30m", a capability is "name@2.1", a schema is itself, and templates are written out instead of as
JSON text. What a field may hold follows from the rules in the proto.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration

from buf.validate import validate_pb2
from muster.v1 import capability_pb2, workflow_pb2
from muster.wire.jsontext import json_text, json_value

SchemaJson = dict[str, Any]

NAME_PATTERN = r"[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*"
VERSION_PATTERN = r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){0,2}"


class BadForm(ValueError):
    """A value cannot be read, or a message cannot be written."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the values of one type are written."""

    schema: SchemaJson
    read: Callable[[Any], Any]  # raises `BadForm`
    write: Callable[[Any], Any]  # raises `BadForm`


# --- durations ------------------------------------------------------------------------------------

_NANOS = {
    "d": 86400 * 10**9,
    "h": 3600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 1000,
    "ns": 1,
}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|us|ns|d|h|m|s)")
DURATION_PATTERN = r"^([0-9]{1,12}(\.[0-9]{1,9})?(ms|us|ns|d|h|m|s))+$"


def read_duration(text: str) -> Duration:
    """ "60s", "1h30m", "500ms". Raises `BadForm`."""
    if not re.fullmatch(DURATION_PATTERN, text):
        message = f"{text[:64]!r} is no duration; write one like 60s, 1h30m or 500ms"
        raise BadForm(message)
    nanos = sum(Fraction(number) * _NANOS[unit] for number, unit in _PART.findall(text))
    if nanos.denominator != 1:
        message = f"{text[:64]!r} is finer than a nanosecond"
        raise BadForm(message)
    seconds, rest = divmod(int(nanos), 10**9)
    if seconds > 315_576_000_000:
        message = f"{text[:64]!r} is longer than 10,000 years"
        raise BadForm(message)
    return Duration(seconds=seconds, nanos=rest)


def write_duration(duration: Duration) -> str:
    """The duration in the largest units that have whole numbers."""
    nanos = duration.seconds * 10**9 + duration.nanos
    if nanos < 0:
        message = "a negative duration cannot be written"
        raise BadForm(message)
    parts = []
    for unit, size in _NANOS.items():
        count, nanos = divmod(nanos, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


# --- other forms ----------------------------------------------------------------------------------


def _read_capability(text: str) -> capability_pb2.CapabilitySelector:
    name, _, version = text.partition("@")
    return capability_pb2.CapabilitySelector(name=name, version=version)


def _write_capability(selector: capability_pb2.CapabilitySelector) -> str:
    return f"{selector.name}@{selector.version}" if selector.version else selector.name


def _read_workflow(text: str) -> workflow_pb2.WorkflowSelector:
    name, _, version = text.partition("@")
    if version and int(version) >= 2**32:
        message = f"there is no version {version}"
        raise BadForm(message)
    return workflow_pb2.WorkflowSelector(name=name, version=int(version or 0))


def _write_workflow(selector: workflow_pb2.WorkflowSelector) -> str:
    return f"{selector.name}@{selector.version}" if selector.version else selector.name


def _read_schema(value: Any) -> capability_pb2.Schema:
    return capability_pb2.Schema(json_schema=_read_json(value))


def _write_schema(schema: capability_pb2.Schema) -> Any:
    if schema.WhichOneof("kind") != "json_schema":
        message = "a protobuf type cannot be written as YAML, only a JSON Schema can"
        raise BadForm(message)
    return _write_json(schema.json_schema)


def _read_json(value: Any) -> str:
    try:
        return json_text(value)
    except ValueError as error:
        raise BadForm(str(error)) from None


def _write_json(text: str) -> Any:
    try:
        return json_value(text)
    except ValueError as error:
        message = f"it is not JSON: {error}"
        raise BadForm(message) from None


def _read_wait(value: Any) -> workflow_pb2.Wait:
    if isinstance(value, str):
        return workflow_pb2.Wait(duration=read_duration(value))
    return workflow_pb2.Wait(signal=value["signal"])


def _write_wait(wait: workflow_pb2.Wait) -> Any:
    if wait.WhichOneof("until") == "signal":
        return {"signal": wait.signal}
    return write_duration(wait.duration)


_DURATION_SCHEMA: SchemaJson = {
    "type": "string",
    "pattern": DURATION_PATTERN,
    "examples": ["60s", "1h30m", "500ms"],
}
_SIGNAL_PATTERN = "^[A-Za-z0-9_.-]{1,64}$"
_BY_TYPE = {
    "google.protobuf.Duration": Form(_DURATION_SCHEMA, read_duration, write_duration),
    "muster.v1.CapabilitySelector": Form(
        {
            "type": "string",
            "pattern": f"^{NAME_PATTERN}(@{VERSION_PATTERN})?$",
            "maxLength": 161,
            "examples": ["text.summarize", "text.summarize@2.1"],
        },
        _read_capability,
        _write_capability,
    ),
    "muster.v1.WorkflowSelector": Form(
        {
            "type": "string",
            "pattern": f"^{NAME_PATTERN}(@[1-9][0-9]{{0,9}})?$",
            "maxLength": 139,
            "examples": ["content", "content@3"],
        },
        _read_workflow,
        _write_workflow,
    ),
    "muster.v1.Schema": Form({"type": ["object", "boolean"]}, _read_schema, _write_schema),
    "muster.v1.Wait": Form(
        {
            "anyOf": [
                _DURATION_SCHEMA,
                {
                    "type": "object",
                    "properties": {"signal": {"type": "string", "pattern": _SIGNAL_PATTERN}},
                    "required": ["signal"],
                    "additionalProperties": False,
                },
            ]
        },
        _read_wait,
        _write_wait,
    ),
}
_ANY_JSON = Form({}, _read_json, _write_json)
_JSON_FIELDS = frozenset(
    {
        "muster.v1.Workflow.output",
        "muster.v1.Step.input",
        "muster.v1.Compensation.input",
        "muster.v1.Gate.default",
        "muster.v1.Gate.choices",
    }
)


def form_of(field: Any) -> Form | None:
    """The form of a field's values; None for a message that is an object of its fields."""
    if field.full_name in _JSON_FIELDS:
        return _ANY_JSON
    if field.message_type is not None:
        return _BY_TYPE.get(field.message_type.full_name)
    if field.enum_type is not None:
        return _enum_form(field)
    return Form(_scalar_schema(field), lambda value: value, lambda value: value)


def _enum_form(field: Any) -> Form:
    """An enum's names in lower case, without what they begin with; not the unspecified one."""
    values = field.enum_type.values
    start = len(values[0].name.removesuffix("UNSPECIFIED"))
    names = {value.name[start:].lower(): value.number for value in values if value.number}
    texts = {number: name for name, number in names.items()}
    return Form({"enum": list(names)}, names.__getitem__, texts.__getitem__)


def rules_of(field: Any) -> validate_pb2.FieldRules:
    """What the proto says that a field may hold."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def _scalar_schema(field: Any) -> SchemaJson:
    rules: Any = rules_of(field)
    kind = rules.WhichOneof("type")
    if kind == "repeated":
        rules = rules.repeated.items
        kind = rules.WhichOneof("type")
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return _text_schema(rules.string if kind == "string" else validate_pb2.StringRules())
        case FieldDescriptor.CPPTYPE_BOOL:
            return {"type": "boolean"}
        case FieldDescriptor.CPPTYPE_DOUBLE:
            bounds = rules.double if kind == "double" else validate_pb2.DoubleRules()
            return {"type": "number", **_bounds(bounds)}
    found = _bounds(rules.uint32 if kind == "uint32" else validate_pb2.UInt32Rules())
    least = {} if "exclusiveMinimum" in found else {"minimum": 0}
    return {"type": "integer", **least, "maximum": 2**32 - 1, **found}


def _text_schema(rules: validate_pb2.StringRules) -> SchemaJson:
    schema: SchemaJson = {"type": "string"}
    if rules.min_len:
        schema["minLength"] = rules.min_len
    if longest := rules.max_len or rules.max_bytes:
        schema["maxLength"] = longest
    if rules.pattern:
        schema["pattern"] = rules.pattern
    return schema


def _bounds(rules: Any) -> SchemaJson:
    names = {
        "gt": "exclusiveMinimum",
        "gte": "minimum",
        "lt": "exclusiveMaximum",
        "lte": "maximum",
    }
    return {
        name: _whole(getattr(rules, rule)) for rule, name in names.items() if rules.HasField(rule)
    }


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number
