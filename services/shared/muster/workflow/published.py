"""The JSON Schema of a definition's YAML: what the loader checks, and what editors are given.

    python -m muster.workflow.published PROTO_FOLDER FILE

writes it with the protos' comments as descriptions.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from muster.v1.workflow_pb2 import Workflow
from muster.workflow.forms import SchemaJson, form_of, rules_of
from muster.workflow.messages import choices_of, is_required

Comments = Mapping[str, str]  # by "Message" and "Message.field"

_FILES = ("workflow.proto", "policy.proto")


@cache
def workflow_schema() -> SchemaJson:
    """The schema, without descriptions."""
    return make_schema({})


def make_schema(comments: Comments) -> SchemaJson:
    """The schema, with what is said of messages and fields."""
    definitions: dict[str, SchemaJson] = {}
    root = _object(Workflow.DESCRIPTOR, comments, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A workflow of Muster",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(kind: Any, comments: Comments, definitions: dict[str, SchemaJson]) -> SchemaJson:
    schema: SchemaJson = {"type": "object"}
    if kind.name in comments:
        schema["description"] = comments[kind.name]
    schema["properties"] = {
        field.name: _described(field, comments, definitions) for field in kind.fields
    }
    if required := [field.name for field in kind.fields if is_required(field)]:
        schema["required"] = required
    for names in choices_of(kind):
        schema["oneOf"] = [{"required": [name]} for name in names]
    schema["additionalProperties"] = False
    return schema


def _described(field: Any, comments: Comments, definitions: dict[str, SchemaJson]) -> SchemaJson:
    schema = _field(field, comments, definitions)
    said = comments.get(f"{field.containing_type.name}.{field.name}")
    return {"description": said, **schema} if said else schema


def _field(field: Any, comments: Comments, definitions: dict[str, SchemaJson]) -> SchemaJson:
    schema = _value(field, comments, definitions)
    if not field.is_repeated:
        return schema
    rules = rules_of(field).repeated
    array: SchemaJson = {"type": "array", "items": schema}
    if rules.min_items:
        array["minItems"] = rules.min_items
    if rules.max_items:
        array["maxItems"] = rules.max_items
    return array


def _value(field: Any, comments: Comments, definitions: dict[str, SchemaJson]) -> SchemaJson:
    form = form_of(field)
    if form is not None:
        return form.schema
    name = field.message_type.name
    if name not in definitions:
        definitions[name] = {}
        definitions[name] = _object(field.message_type, comments, definitions)
    return {"$ref": f"#/$defs/{name}"}


_OPENS = re.compile(r"(?:message|enum) (\w+) \{")
_FIELD = re.compile(r"\s+(?:repeated |optional )?[\w.]+ (\w+) = \d+")


def comments_of(proto: str) -> dict[str, str]:
    """What a proto file says of its messages and their fields, as "Message" and "Message.field"."""
    comments: dict[str, str] = {}
    message, lines = "", list[str]()
    for line in proto.splitlines():
        text = line.strip()
        if text.startswith("//"):
            lines.append(text.removeprefix("//").removeprefix(" "))
            continue
        opened, field = _OPENS.match(line), _FIELD.match(line)
        if opened:
            message = opened[1]
        name = message if opened else f"{message}.{field[1]}" if field else ""
        if name and lines:
            comments[name] = _paragraphs(lines)
        lines = []
    return comments


def _paragraphs(lines: list[str]) -> str:
    """The text with its lines joined, but for empty ones and those that are set in."""
    text = ""
    for line in lines:
        last = text.rpartition("\n")[2]
        apart = not line or line.startswith(" ") or not last or last.startswith(" ")
        text += f"\n{line}" if apart else f" {line}"
    return text.strip()


def published(protos: Path) -> str:
    """The schema's text, as it is kept beside the protos in this folder."""
    comments: dict[str, str] = {}
    for name in _FILES:
        comments |= comments_of((protos / name).read_text(encoding="utf-8"))
    return json.dumps(make_schema(comments), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    """Writes the schema."""
    protos, file = map(Path, arguments)
    file.write_text(published(protos), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
