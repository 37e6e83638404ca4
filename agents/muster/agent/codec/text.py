"""Codecs of scalars that JSON writes as text."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from muster.agent.codec.annotations import Codec, Misfit, misfit


def text_codec(cls: type) -> Codec | None:
    """The codec of a class that is written as text, or None for any other class."""
    return _CODECS.get(cls)


def _codec(
    cls: type,
    schema: dict[str, Any],
    read: Callable[[str], Any],
    write: Callable[[Any], str],
    expected: str,
) -> Codec:
    def decode(value: Any) -> Any:
        if not isinstance(value, str):
            raise misfit("a string", value)
        try:
            return read(value)
        except (ValueError, InvalidOperation):
            message = f"expected {expected}"
            raise Misfit(message) from None

    def encode(value: Any) -> str:
        if not isinstance(value, cls):
            raise misfit(f"a {cls.__name__}", value)
        return write(value)

    return Codec({"type": "string", **schema}, decode, encode)


def _read_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _write_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _isoformat(value: Any) -> str:
    return str(value.isoformat())


_CODECS: dict[type, Codec] = {
    bytes: _codec(bytes, {"contentEncoding": "base64"}, _read_base64, _write_base64, "base64 text"),
    datetime.datetime: _codec(
        datetime.datetime,
        {"format": "date-time"},
        datetime.datetime.fromisoformat,
        _isoformat,
        "a time as in RFC 3339",
    ),
    datetime.date: _codec(
        datetime.date, {"format": "date"}, datetime.date.fromisoformat, _isoformat, "a date"
    ),
    datetime.time: _codec(
        datetime.time, {"format": "time"}, datetime.time.fromisoformat, _isoformat, "a time of day"
    ),
    UUID: _codec(UUID, {"format": "uuid"}, UUID, str, "a UUID"),
    Decimal: _codec(Decimal, {}, Decimal, str, "a decimal number"),
}
