"""JSON text as payloads carry it (RFC 8259): compact, UTF-8, and without NaN.

Without protobuf, so that a worker process that only speaks JSON need not load it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn


def json_encoder(default: Callable[[Any], Any] | None = None) -> Callable[[Any], str]:
    """A function that makes text of values. `default` turns what JSON has not into what it has.

    The function raises `ValueError` for what JSON cannot say: a type that it has not, NaN, a lone
    surrogate, a cycle, too many levels.
    """
    encoder = json.JSONEncoder(
        separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=default
    )
    encode = encoder.encode

    def encode_checked(value: Any) -> str:
        try:
            text = encode(value)
            if not text.isascii():
                text.encode()
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from None
        return text

    return encode_checked


def json_value(text: str | bytes) -> Any:
    """The value that JSON text stands for. Raises `ValueError` for anything that is not JSON."""
    try:
        return _decode(text if isinstance(text, str) else text.decode())
    except RecursionError:
        message = "the JSON text has too many levels"
        raise ValueError(message) from None


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode

json_text = json_encoder()
