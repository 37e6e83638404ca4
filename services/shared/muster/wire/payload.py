"""Python values and `muster.v1.Payload`, both ways.

A value's type chooses the kind of content: a protobuf message travels as an `Any`, bytes as a
`Binary`, a `BlobRef` as itself, and everything else as JSON text. Nothing here looks at sizes: who
sends decides when content is large enough to go as a blob.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import symbol_database
from google.protobuf.message import DecodeError, Message

from muster.v1.payload_pb2 import BlobRef, Payload
from muster.wire.jsontext import json_text, json_value

__all__ = ["fill_payload", "json_text", "json_value", "payload_of", "size_bytes", "value_of"]

JSON_MEDIA_TYPE = "application/json"
BINARY_MEDIA_TYPE = "application/octet-stream"


def fill_payload(payload: Payload, value: object) -> None:
    """Puts a value into a payload that is still empty. Raises `ValueError` as `json_text` does."""
    if isinstance(value, Message):
        if isinstance(value, BlobRef):
            payload.blob.CopyFrom(value)
        else:
            payload.message.Pack(value)
    elif isinstance(value, bytes | bytearray | memoryview):
        payload.binary.data = bytes(value)
    else:
        payload.json = json_text(value)


def payload_of(value: object) -> Payload:
    """A new payload that holds the value. Raises `ValueError` as `json_text` does."""
    payload = Payload()
    fill_payload(payload, value)
    return payload


def value_of(payload: Payload) -> Any:
    """What the payload holds: the JSON value, the message, bytes, or the `BlobRef` itself.

    An empty payload is None. A message of a type that this process does not know stays an `Any`.
    Raises `ValueError` for malformed content.
    """
    kind = payload.WhichOneof("content")
    if kind == "json":
        return json_value(payload.json)
    if kind == "message":
        return _unpacked(payload)
    if kind == "binary":
        return payload.binary.data
    return payload.blob if kind == "blob" else None


def size_bytes(payload: Payload) -> int:
    """Size of the content on the wire, without what frames it."""
    return payload.ByteSize()


def _unpacked(payload: Payload) -> Message:
    packed = payload.message
    try:
        symbol: type[Message] = symbol_database.Default().GetSymbol(packed.TypeName())
    except KeyError:
        return packed
    try:
        return symbol.FromString(packed.value)
    except DecodeError:
        message = f"the content is not a {packed.TypeName()}"
        raise ValueError(message) from None
