"""A capability's input and output between the wire and its function, without protobuf.

A worker process has neither gRPC nor, unless its capability uses messages, protobuf; so content
comes as its kind and its text or bytes.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, NoReturn

from muster.agent.capability import Capability
from muster.agent.codec import Misfit
from muster.agent.failures import INVALID_INPUT, INVALID_OUTPUT, Failed

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class Content(NamedTuple):
    """What a payload holds: `kind` is "json" (text), "message" (bytes), "binary" (bytes) or ""."""

    kind: str
    data: str | bytes = ""
    type_name: str = ""  # full name of the message, or media type


EMPTY = Content("")


def arguments_of(capability: Capability, content: Content) -> dict[str, Any]:
    """The keyword arguments that the content stands for. Raises `Failed` with INVALID_INPUT."""
    try:
        if capability.input_message is not None:
            return capability.decode(_message(capability.input_message, content))
        if content.kind == "json":
            return capability.decode(_decode(content.data))  # type: ignore[arg-type]
        if content.kind == "":
            return capability.decode({})
    except (ValueError, RecursionError) as error:
        message = f"the input does not fit {capability.name}: {_one_line(error)}"
        raise Failed(INVALID_INPUT, message, permanent=True) from None
    message = f"{capability.name} takes JSON, not {content.kind or 'nothing'}"
    raise Failed(INVALID_INPUT, message, permanent=True)


def _message(cls: Any, content: Content) -> Any:
    if content.kind == "message":
        if content.type_name != cls.DESCRIPTOR.full_name:
            message = f"expected a {cls.DESCRIPTOR.full_name}, got a {content.type_name}"
            raise Misfit(message)
        return cls.FromString(content.data)
    if content.kind == "":
        return cls()
    if content.kind == "json":
        from google.protobuf import json_format

        return json_format.Parse(content.data, cls())
    message = f"expected a message, got {content.kind} content"
    raise Misfit(message)


def content_of(capability: Capability, value: Any) -> Content:
    """What a function's return value looks like on the wire. Raises `Failed` with INVALID_OUTPUT."""
    try:
        wanted = capability.output_message
        if wanted is not None:
            if not isinstance(value, wanted):
                message = f"expected a {wanted.DESCRIPTOR.full_name}, got a {type(value).__name__}"
                raise Misfit(message)
            return Content("message", value.SerializeToString(), wanted.DESCRIPTOR.full_name)
        text = _encode(capability.output.encode(value))
        # Lone surrogates pass through JSON and not through UTF-8.
        text.isascii() or text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        message = f"what {capability.name} returned does not fit its type: {_one_line(error)}"
        raise Failed(INVALID_OUTPUT, message, permanent=True) from None
    return Content("json", text)


def chunk_of(capability: Capability, value: Any) -> Content:
    """What a yielded value looks like on the wire. Raises `Failed` with INVALID_OUTPUT."""
    try:
        encoded = capability.yields.encode(value) if capability.yields is not None else value
        text = _encode(encoded)
        text.isascii() or text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        message = f"a part of what {capability.name} puts out does not fit: {_one_line(error)}"
        raise Failed(INVALID_OUTPUT, message, permanent=True) from None
    return Content("json", text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
