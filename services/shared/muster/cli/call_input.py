"""The input of a call, as a person types it. Pure, but for reading the file that it names."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muster.cli.exits import USAGE, Trouble
from muster.model import limits
from muster.wire.jsontext import json_value

_FIELD = re.compile(r"([A-Za-z_][\w.-]*)(:?=)(.*)", re.DOTALL)
_HOW = "write JSON, @FILE, - for stdin, or fields: text=hello limit:=20"


def input_of(words: Sequence[str]) -> Any:
    """The value that the words stand for; None for no words. Raises `Trouble`.

    One word is JSON text, "-" for stdin or "@FILE"; otherwise each is a field: `name=text`,
    `name=@FILE` for a file's text, or `name:=JSON`.
    """
    if not words:
        return None
    if len(words) == 1 and not _FIELD.fullmatch(words[0]):
        return _json_of(text_of(words[0]), words[0])
    fields: dict[str, Any] = {}
    for word in words:
        found = _FIELD.fullmatch(word)
        if found is None:
            message = f"{word!r} is no field of the input; {_HOW}"
            raise Trouble(message, USAGE)
        name, sign, value = found.groups()
        if name in fields:
            message = f"the field {name} is there twice"
            raise Trouble(message, USAGE)
        is_text = sign == "="
        content = text_of(value) if value.startswith("@") else value
        fields[name] = content if is_text else _json_of(content, f"{name}:=…")
    return fields


def labels_of(words: Sequence[str]) -> dict[str, str]:
    """Labels from "key=value" words. Raises `Trouble`."""
    labels = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key:
            message = f"a label is KEY=VALUE, unlike {word!r}"
            raise Trouble(message, USAGE)
        labels[key] = value
    return labels


def text_of(word: str) -> str:
    """The word, or what it names: "-" stdin, "@FILE" a file. Raises `Trouble`."""
    if word == "-":
        return _read(sys.stdin.buffer.read(limits.BLOB_BYTES_MAX), "stdin")
    if word.startswith("@"):
        path = Path(word[1:]).expanduser()
        try:
            return _read(path.read_bytes(), str(path))
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}"
            raise Trouble(message, USAGE) from None
    return word


def _read(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        message = f"{name} is not UTF-8 text"
        raise Trouble(message, USAGE) from None


def _json_of(text: str, name: str) -> Any:
    try:
        return json_value(text)
    except ValueError as error:
        shown = name if len(name) <= 40 else name[:39] + "…"
        message = f"{shown!r} is not JSON ({error}); {_HOW}"
        raise Trouble(message, USAGE) from None
