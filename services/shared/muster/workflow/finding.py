"""Follows paths into values, and says what is there instead where they lead nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from muster.workflow.scope import NoValue, StepValue, Unread, Variables, plain

KEYS_SHOWN_MAX = 8


def find(root: str, parts: tuple[str | int, ...], variables: Variables) -> Any:
    """What is at a path. Raises `NoValue`."""
    if root not in variables:
        message = f"there is no variable {root}; there are {_listed(variables)}"
        raise NoValue(message)
    value, at = variables[root], root
    for part in parts:
        value = _inside(value, part, at)
        at += f".{part}" if isinstance(part, str) else f"[{part}]"
    return plain(value)


def has(root: str, parts: tuple[str | int, ...], variables: Variables) -> bool:
    """Whether an object has the last part as its key. Raises `NoValue` where it is no object."""
    owner = find(root, parts[:-1], variables)
    if not isinstance(owner, dict):
        raise NoValue(f"{_path(root, parts[:-1])} is {kind(owner)}, so it has no {parts[-1]!r}")
    return parts[-1] in owner


def _path(root: str, parts: Iterable[str | int]) -> str:
    return root + "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in parts)


def _inside(value: Any, part: str | int, at: str) -> Any:
    if isinstance(value, StepValue):
        value = {"state": value.state, "output": value.output, "failure": value.failure}
    if isinstance(value, Unread):
        message = f"{at} {value.problem}"
        raise NoValue(message)
    if isinstance(value, Mapping):
        if part in value:
            return value[part]
        held = f"it has {_listed(value)}" if value else "it is empty"
        message = f"{at} has no {part!r}; {held}"
    elif isinstance(value, list) and isinstance(part, int):
        if 0 <= part < len(value):
            return value[part]
        message = f"{at} has {len(value)} elements, and so no [{part}]"
    else:
        message = f"{at} is {kind(value)}, so it has no {part!r}"
    raise NoValue(message)


def kind(value: Any) -> str:
    """What a value is, in JSON's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def _listed(keys: Iterable[str]) -> str:
    names = sorted(str(key)[:64] for key in keys)
    more = len(names) - KEYS_SHOWN_MAX
    return ", ".join(names[:KEYS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
