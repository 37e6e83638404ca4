"""Messages between a host and its worker processes.

A message is a JSON object and any number of contents beside it, so that large ones are not escaped
into JSON once more:

    4 bytes  length of the object's text
    4 bytes  length of all that follows it
    the text, whose "contents" lists kind, name, size and length of each
    the contents' bytes, one after another

What a host says ("do"): `run` with a capability and its input; `cancel` with a code; `answer` to
what the worker asked. What a worker says ("say"): `begun` when the capability is found and its code
runs; `tell` (nobody answers); `ask`; and `done` or `failed` when it has ended.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from muster.agent.values import Content

_LENGTHS = struct.Struct(">II")
PREFIX_BYTES = _LENGTHS.size


class Message(NamedTuple):
    """What was said, and the contents that came with it."""

    said: dict[str, Any]
    contents: tuple[Content, ...] = ()


def encode(said: dict[str, Any], contents: Sequence[Content] = ()) -> bytes:
    """A message as bytes."""
    bodies = [
        content.data.encode() if isinstance(content.data, str) else bytes(content.data)
        for content in contents
    ]
    listed = [
        (content.kind, content.name, content.size, len(body))
        for content, body in zip(contents, bodies, strict=True)
    ]
    text = json.dumps({**said, "contents": listed} if listed else said).encode()
    prefix = _LENGTHS.pack(len(text), sum(len(body) for body in bodies))
    return b"".join((prefix, text, *bodies))


def lengths(prefix: bytes) -> tuple[int, int]:
    """Of a message's first bytes: the lengths of its text and of its contents."""
    text, contents = _LENGTHS.unpack(prefix)
    return text, contents


def decode(text: bytes, rest: bytes) -> Message:
    """The message that was encoded."""
    said = json.loads(text)
    contents = []
    start = 0
    for kind, name, size, length in said.pop("contents", ()):
        data = rest[start : start + length]
        start += length
        is_text = kind in ("json", "blob", "")
        contents.append(Content(kind, data.decode() if is_text else data, name, size))
    return Message(said, tuple(contents))
