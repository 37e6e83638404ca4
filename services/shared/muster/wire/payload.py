"""Python values and `muster.v1.Payload`, both ways.

A value's type chooses the kind of content: a protobuf message travels as an `Any`, bytes as a
`Binary`, a `BlobRef` as itself, and everything else as JSON text. Nothing here looks at sizes: who
sends decides when content is large enough to go as a blob.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from google.protobuf import symbol_database
from google.protobuf.message import DecodeError, Message

from muster.v1.payload_pb2 import BlobRef, Payload

JSON_MEDIA_TYPE = "application/json"
BINARY_MEDIA_TYPE = "application/octet-stream"

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def json_text(value: object) -> str:
    """The value as compact JSON text.

    Raises `ValueError` for what JSON cannot say: a type it has not, NaN, a cycle, too many levels.
    """
    try:
        return _encode(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def json_value(text: str | bytes) -> Any:
    """The value that JSON text stands for. Raises `ValueError` for anything that is not JSON."""
    try:
        return _decode(text if isinstance(text, str) else text.decode())
    except RecursionError:
        message = "the JSON text has too many levels"
        raise ValueError(message) from None


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


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
