"""Does a newer JSON Schema still take every input that an older one took?

Deciding that in general is as hard as schemas are expressive. This looks for the breaks that people
make: a property that becomes required, disappears while extra ones are refused, or is narrowed in
type, choices or range. What it does not understand it lets pass.
"""

from __future__ import annotations

from typing import Any

_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def first_break(old: Any, new: Any, path: str = "input") -> str:
    """Where and how `new` refuses what `old` took, for people; empty when it does not."""
    if not isinstance(new, dict) or not isinstance(old, dict):
        old_takes_any, new_takes_any = old in (None, True), new in (None, True)
        if new_takes_any or not old_takes_any:
            return ""
        return f"{path} took anything before"
    return (
        _narrowed_type(old, new, path)
        or _fewer_choices(old, new, path)
        or _tighter_bounds(old, new, path)
        or _properties(old, new, path)
        or _items(old, new, path)
    )


def _types(schema: dict[str, Any]) -> set[str] | None:
    types = schema.get("type")
    if types is None:
        return None
    found = {types} if isinstance(types, str) else set(types)
    return found | {"integer"} if "number" in found else found


def _narrowed_type(old: dict[str, Any], new: dict[str, Any], path: str) -> str:
    before, after = _types(old), _types(new)
    if after is None or (before is not None and before <= after):
        return ""
    lost = "any type" if before is None else " and ".join(sorted(before - after))
    return f"{path} no longer takes {lost}"


def _fewer_choices(old: dict[str, Any], new: dict[str, Any], path: str) -> str:
    after = new.get("enum")
    if after is None:
        return ""
    before = old.get("enum")
    if before is None:
        return f"{path} has become a choice"
    lost = [value for value in before if value not in after]
    return f"{path} no longer takes {lost[0]!r}" if lost else ""


def _tighter_bounds(old: dict[str, Any], new: dict[str, Any], path: str) -> str:
    for name in _LOWER_BOUNDS:
        if name in new and (name not in old or new[name] > old[name]):
            return f"{path} has a larger {name}"
    for name in _UPPER_BOUNDS:
        if name in new and (name not in old or new[name] < old[name]):
            return f"{path} has a smaller {name}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        return f"{path} has another pattern"
    return ""


def _properties(old: dict[str, Any], new: dict[str, Any], path: str) -> str:
    required = set(new.get("required", ())) - set(old.get("required", ()))
    if required:
        return f"{path}.{min(required)} has become required"
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, schema in before.items():
        if name in after:
            found = first_break(schema, after[name], f"{path}.{name}")
            if found:
                return found
        elif new.get("additionalProperties") is False:
            return f"{path}.{name} is no longer known"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        return f"{path} no longer takes other properties"
    return ""


def _items(old: dict[str, Any], new: dict[str, Any], path: str) -> str:
    if "items" in old and "items" in new:
        return first_break(old["items"], new["items"], f"{path}[]")
    return ""
