"""`muster capabilities`: what can be asked for, and how."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from muster.cli import exits, text
from muster.cli.exits import Trouble
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, say, table
from muster.model.versions import parse_version
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.capability_pb2 import CatalogueEntry, Schema


async def list_capabilities(place: Place, name: str, as_json: bool) -> int:
    """Lists the catalogue; `name` is empty here."""
    async with connected(place, "registry") as client:
        entries = [entry async for entry in client.capabilities(name)]
    if as_json:
        print_json([message_json(entry) for entry in entries])
    elif not entries:
        say("nothing can be asked for yet; run an agent with: muster agent run FILE")
    else:
        columns = ["<CAPABILITY", "VERSION", ">AGENTS", "<DESCRIPTION"]
        out().print(table(columns, [_row(entry) for entry in entries]))
    return exits.OK


def _row(entry: CatalogueEntry) -> list[str | Text]:
    capability = entry.capability
    agents = text.number(entry.agents_now)
    return [
        capability.name,
        capability.version,
        agents if entry.agents_now else Text(agents, style="yellow"),
        text.shortened(capability.description, 200),
    ]


async def show_capability(place: Place, name: str, as_json: bool) -> int:
    """Shows the newest version of a capability, and which others there are."""
    async with connected(place, "registry") as client:
        entries = [
            entry async for entry in client.capabilities(name) if entry.capability.name == name
        ]
    if not entries:
        message = f"no agent has ever offered {name}"
        raise Trouble(message, exits.NOT_FOUND, "what there is: muster capabilities")
    entries.sort(key=lambda entry: parse_version(entry.capability.version), reverse=True)
    if as_json:
        print_json([message_json(entry) for entry in entries])
    else:
        _show(entries, time.time())
    return exits.OK


def _show(entries: Sequence[CatalogueEntry], now: float) -> None:
    newest = entries[0]
    capability = newest.capability
    out().print(Text.assemble((capability.name, "bold"), f" {capability.version}"))
    if capability.description:
        out().print(text.printable(capability.description), soft_wrap=True)
    age = text.age(now - seconds_of_timestamp(newest.create_time))
    facts = [
        f"{text.counted(newest.agents_now, 'agent')} offer it now",
        "known just now" if age == "now" else f"known for {age}",
        *(["running it twice does no harm"] if capability.idempotent else []),
    ]
    out().print(" · ".join(facts), style="bright_black")
    if len(entries) > 1:
        others = ", ".join(entry.capability.version for entry in entries[1:])
        out().print(f"other versions: {others}", style="bright_black")
    for title, schema in (("input", capability.input), ("output", capability.output)):
        out().print()
        _show_schema(title, schema)
    out().print()
    out().print(f"muster call {capability.name} {example(capability.input)}", style="green")


def _show_schema(title: str, schema: Schema) -> None:
    out().print(title, style="bold")
    kind = schema.WhichOneof("kind")
    if kind is None:
        out().print("  anything")
    elif kind == "message":
        out().print(f"  message {schema.message.full_name}")
    else:
        document = _parsed(schema.json_schema)
        rows = field_rows(document)
        if rows:
            out().print(table(["  FIELD", "TYPE", "", "<DESCRIPTION"], rows))
        else:
            out().print(f"  {type_name(document, document)}")


def _parsed(schema: str) -> Any:
    try:
        return json.loads(schema)
    except ValueError:
        return {}


def field_rows(document: Any) -> list[list[str]]:
    """The fields of an object's schema: name, type, whether it may be left out, description."""
    if not isinstance(document, dict):
        return []
    target = _resolved(document, document)
    properties = target.get("properties")
    if not isinstance(properties, dict):
        return []
    required = target.get("required", [])
    rows = []
    for name, schema in properties.items():
        default = schema.get("default") if isinstance(schema, dict) else None
        optional = "" if name in required else "optional"
        if default is not None:
            optional = f"default {text.shortened(text.compact(default), 24)}"
        about = str(schema.get("description", "")) if isinstance(schema, dict) else ""
        rows.append([f"  {name}", type_name(schema, document), optional, text.printable(about)])
    return rows


def type_name(schema: Any, document: Any) -> str:
    """A schema in a few words: "string", "array of integer", "red | green"."""
    if not isinstance(schema, dict):
        return "anything"
    schema = _resolved(schema, document)
    if "enum" in schema:
        return text.shortened(" | ".join(str(each) for each in schema["enum"]), 40)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(dict.fromkeys(type_name(each, document) for each in schema[key]))
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " | ".join(map(str, kind))
    if kind == "array" and "items" in schema:
        return f"array of {type_name(schema['items'], document)}"
    return str(schema.get("title", kind)) if kind == "object" else str(kind)


def _resolved(schema: dict[str, Any], document: Any) -> dict[str, Any]:
    """The schema that a local reference names; references to references end somewhere."""
    for _ in range(8):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        found = document
        for part in reference[2:].split("/"):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        schema = found if isinstance(found, dict) else {}
    return schema


_EXAMPLES = {"string": "…", "integer": 1, "number": 1.5, "boolean": True}


def example(schema: Schema) -> str:
    """What a call could look like on the command line."""
    if schema.WhichOneof("kind") != "json_schema":
        return "'{…}'" if schema.WhichOneof("kind") else ""
    document = _parsed(schema.json_schema)
    target = _resolved(document, document) if isinstance(document, dict) else {}
    words = []
    for name in target.get("required", []):
        kind = _resolved(target.get("properties", {}).get(name, {}), document).get("type")
        value = _EXAMPLES.get(kind, "…") if isinstance(kind, str) else "…"
        words.append(f"{name}=…" if kind == "string" else f"{name}:={text.compact(value)}")
    return " ".join(word.replace('"…"', "…") for word in words)
