"""Values between Python and the wire, without protobuf.

A worker process has neither gRPC nor, unless its capability uses messages, protobuf; so what a
payload holds comes as its kind and its text or bytes.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import Any, NamedTuple

from muster.agent.blob import Blob
from muster.agent.capability import Capability, is_message
from muster.agent.codec.annotations import Misfit
from muster.agent.failures import INVALID_INPUT, INVALID_OUTPUT, Failed
from muster.wire.jsontext import json_encoder, json_text, json_value


class Content(NamedTuple):
    """What a payload holds.

    `kind` is "json" (text), "message" (bytes of a message called `name`), "binary" (bytes of media
    type `name`), "blob" (the digest of `size` bytes of media type `name`) or "" (nothing).
    """

    kind: str
    data: Any = ""
    name: str = ""
    size: int = 0


EMPTY = Content("")
NO_INPUT = Content("json", "{}")  # a function without arguments takes an object without properties


# --- what a capability takes and gives ------------------------------------------------------------


def arguments_of(capability: Capability, content: Content) -> dict[str, Any]:
    """The keyword arguments that the content stands for. Raises `Failed` with INVALID_INPUT."""
    try:
        if capability.input_message is not None:
            return capability.decode(_message(capability.input_message, content))
        if content.kind == "json":
            return capability.decode(json_value(content.data))
        if content.kind:
            message = f"expected JSON, got {content.kind} content"
            raise Misfit(message)
        return capability.decode({})
    except ValueError as error:
        message = f"the input does not fit {capability.name}: {_one_line(error)}"
        raise Failed(INVALID_INPUT, message, permanent=True) from None


def _message(cls: Any, content: Content) -> Any:
    if content.kind == "message":
        if content.name != cls.DESCRIPTOR.full_name:
            message = f"expected a {cls.DESCRIPTOR.full_name}, got a {content.name}"
            raise Misfit(message)
        return _parsed(cls, content.data)
    if content.kind == "json":
        from google.protobuf import json_format

        try:
            return json_format.Parse(content.data, cls())
        except json_format.ParseError as error:
            raise Misfit(str(error)) from None
    if content.kind:
        message = f"expected a message, got {content.kind} content"
        raise Misfit(message)
    return cls()


def _parsed(cls: Any, data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return cls.FromString(data)
    except DecodeError:
        message = f"expected a {cls.DESCRIPTOR.full_name}, got other bytes"
        raise Misfit(message) from None


def output_content(capability: Capability, value: Any) -> Content:
    """What a function's return value is on the wire. Raises `Failed` with INVALID_OUTPUT."""
    try:
        wanted = capability.output_message
        if wanted is None:
            return Content("json", json_text(capability.output.encode(value)))
        if isinstance(value, wanted):
            return Content("message", value.SerializeToString(), wanted.DESCRIPTOR.full_name)
        message = f"expected a {wanted.DESCRIPTOR.full_name}, got a {type(value).__name__}"
        raise Misfit(message)
    except ValueError as error:
        message = f"what {capability.name} returned does not fit its type: {_one_line(error)}"
        raise Failed(INVALID_OUTPUT, message, permanent=True) from None


def chunk_content(capability: Capability, value: Any) -> Content:
    """What a part of the output is on the wire. Raises `Failed` with INVALID_OUTPUT."""
    try:
        if capability.yields is not None:
            return Content("json", json_text(capability.yields.encode(value)))
        return content_of(value)
    except ValueError as error:
        message = f"a part of the output of {capability.name} does not fit: {_one_line(error)}"
        raise Failed(INVALID_OUTPUT, message, permanent=True) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_JSON_TYPES = frozenset({dict, list, str, int, float, bool, type(None)})


# --- what anybody sends and gets ------------------------------------------------------------------


def content_of(value: Any) -> Content:
    """What a value is on the wire, by its type alone. Raises `ValueError` where it has no place.

    A protobuf message stays a message, bytes and a whole `Blob` themselves; everything else becomes
    JSON, dataclasses, named tuples, enums, pydantic models and dates within it too.
    """
    if type(value) in _JSON_TYPES:
        return Content("json", _encode_anything(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return Content("binary", bytes(value), "application/octet-stream")
    if isinstance(value, Blob):
        return Content("blob", value.sha256, value.media_type, value.size_bytes)
    if is_message(type(value)):
        return Content("message", value.SerializeToString(), value.DESCRIPTOR.full_name)
    return Content("json", _encode_anything(value))


def input_content(value: Any) -> Content:
    """What a request's input is on the wire, as `content_of`; None is no input at all."""
    return NO_INPUT if value is None else content_of(value)


def value_of(content: Content) -> Any:
    """What content stands for: the JSON value, bytes, a `Blob`, a message. Raises `ValueError`."""
    match content.kind:
        case "json":
            return json_value(content.data)
        case "binary":
            return content.data
        case "blob":
            return Blob(content.data, content.size, content.name)
        case "message":
            return _message_by_name(content)
    return None


def _message_by_name(content: Content) -> Any:
    from google.protobuf import symbol_database

    try:
        cls = symbol_database.Default().GetSymbol(content.name)
    except KeyError:
        message = f"this process does not know the message {content.name}; import its module"
        raise ValueError(message) from None
    return _parsed(cls, content.data)


def _plain(value: Any) -> Any:
    """What JSON has in the place of a value of a type that it has not."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return list(value)
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    from muster.agent.codec.text import text_codec

    codec = text_codec(type(value))
    if codec is not None:
        return codec.encode(value)
    message = f"a {type(value).__name__} has no place in JSON"
    raise TypeError(message)


_encode_anything = json_encoder(_plain)
