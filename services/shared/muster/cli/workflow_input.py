"""The input of a run, as a person gives it: words, a file, and single fields over both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muster.cli.call_input import input_of
from muster.cli.exits import USAGE, Trouble
from muster.wire.jsontext import json_value

_FIELD = re.compile(r"([A-Za-z_][\w.-]*?)(:?)=(.*)", re.DOTALL)


def run_input(
    words: Sequence[str], file: Path | None, sets: Sequence[str], begin: Mapping[str, Any] | None
) -> Any:
    """The input: what it begins with, then the file's or the words' JSON, then single fields.

    An object adds to what it begins with; anything else stands for itself. None when nothing was
    given at all. Raises `Trouble`.
    """
    if words and file is not None:
        message = "INPUT and --input are two inputs; give one, and change fields with --set"
        raise Trouble(message, USAGE)
    given = input_of([f"@{file}"] if file is not None else words)
    fields = dict(map(_field_of, sets))
    if given is not None and not isinstance(given, dict):
        if fields:
            message = "--set changes fields of an object, and the input is none"
            raise Trouble(message, USAGE)
        return given
    if begin is None and given is None and not fields:
        return None
    return {**(begin or {}), **(given or {}), **fields}


def _field_of(word: str) -> tuple[str, Any]:
    found = _FIELD.fullmatch(word)
    if found is None:
        message = f"--set takes KEY=VALUE, unlike {word!r}"
        raise Trouble(message, USAGE)
    name, strict, value = found.groups()
    try:
        return name, json_value(value)
    except ValueError as error:
        if strict:
            message = f"--set {name}:=… is not JSON ({error})"
            raise Trouble(message, USAGE) from None
        return name, value
