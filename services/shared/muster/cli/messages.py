"""Messages of the wire as JSON for programs, and what payloads hold as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from muster.cli import text
from muster.wire.jsontext import json_value

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from muster.v1.payload_pb2 import Payload


# Fields that hold payloads, in whatever message.
_PAYLOADS = frozenset(
    {"payload", "details", "value", "choices", "default_answer", "input", "output"}
)


def message_json(message: Message) -> dict[str, Any]:
    """A message as protobuf's JSON mapping has it, with the names of the .proto files.

    Fields that are not set are there too, so that programs need not ask; payloads of JSON text
    become JSON.
    """
    try:
        made: dict[str, Any] = json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
    except TypeError:
        # A payload holds a message whose type this process does not know.
        made = _without_unknown(message)
    _open_payloads(made)
    return made


def _without_unknown(message: Message) -> dict[str, Any]:
    copy = type(message)()
    copy.CopyFrom(message)
    _name_unknown(copy)
    made: dict[str, Any] = json_format.MessageToDict(
        copy, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return made


def _name_unknown(message: Any) -> None:
    """Puts bytes of a named type in the place of every `Any`."""
    from google.protobuf.any_pb2 import Any as AnyMessage

    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else [value]:
            if not isinstance(each, AnyMessage):
                _name_unknown(each)
            elif field.name == "message" and not field.is_repeated:
                name, data = each.TypeName(), each.value
                message.binary.media_type = f"application/x-protobuf; messageType={name}"
                message.binary.data = data


def _open_payloads(value: Any) -> None:
    """JSON text inside of JSON is of no use to anybody."""
    if isinstance(value, list):
        for each in value:
            _open_payloads(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name in _PAYLOADS:
                for payload in each if isinstance(each, list) else [each]:
                    if isinstance(payload, dict) and "json" in payload:
                        payload["json"] = _parsed(payload["json"])
            else:
                _open_payloads(each)


def _parsed(json_text: str) -> Any:
    try:
        return json_value(json_text)
    except ValueError:
        return json_text


def payload_line(payload: Payload, characters_max: int) -> str:
    """What a payload holds, on one line."""
    kind = payload.WhichOneof("content")
    if kind == "json":
        return text.shortened(payload.json, characters_max)
    if kind == "message":
        held = payload.message
        return f"{held.TypeName()} ({text.size(len(held.value))})"
    if kind == "binary":
        media = payload.binary.media_type or "bytes"
        return f"{text.printable(media)} ({text.size(len(payload.binary.data))})"
    if kind == "blob":
        media = payload.blob.media_type or "blob"
        digest = payload.blob.sha256[:12]
        return f"{text.printable(media)} ({text.size(payload.blob.size_bytes)}, blob {digest}…)"
    return "nothing"


def payload_size(payload: Payload) -> int:
    """How many bytes the content has."""
    kind = payload.WhichOneof("content")
    if kind == "blob":
        return payload.blob.size_bytes
    if kind == "json":
        return len(payload.json.encode())
    return len(payload.binary.data) if kind == "binary" else len(payload.message.value)
