"""What of a document does not fit its JSON Schema, in words, at its places.

What was written is named, and what may stand there instead; the validator's own messages speak of
the schema, which nobody has before them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

import jsonschema_rs

from muster.workflow.places import Problem, problem_at


class Misfits:
    """Finds them, for one schema.

    `whole` is said of what is no mapping, `either` of a value that fits none of its schema's anyOf.
    """

    def __init__(self, schema: dict[str, Any], *, whole: str, either: str) -> None:
        self._schema = schema
        self._whole = whole
        self._either = either
        self._validator = jsonschema_rs.Draft202012Validator(schema)

    def of(self, value: Any) -> Iterable[Problem]:
        """Every misfit of a document's value."""
        if not isinstance(value, dict):
            yield Problem("", self._whole)
            return
        for error in self._validator.iter_errors(value):
            yield from self._misfit(error)

    def _misfit(self, error: Any) -> Iterable[Problem]:
        kind = error.kind.as_dict()
        at: list[str | int] = list(error.instance_path)
        keyword = error.schema_path[-1] if error.schema_path else ""
        match keyword:
            case "additionalProperties":
                for name in kind["unexpected"]:
                    yield problem_at([*at, name], self._unknown(name, error.schema_path))
            case "required":
                yield problem_at(at, f"{kind['property']} is missing")
            case "oneOf":
                if isinstance(error.instance, dict):
                    yield problem_at(at, self._one_of(error))
            case "anyOf":
                either = self._at(error.schema_path[:-1]).get("x-either", self._either)
                yield problem_at(at, f"{_what(error.instance)} does not fit: {either}")
            case _:
                yield problem_at(at, self._in_words(keyword, error))

    def _at(self, path: Iterable[str | int]) -> Any:
        """The part of the schema that an error's path leads to."""
        schema: Any = self._schema
        for part in path:
            if part == "$ref":
                schema = self._schema["$defs"][schema["$ref"].rpartition("/")[2]]
            else:
                schema = schema[part]
        return schema

    def _unknown(self, name: str, path: list[str | int]) -> str:
        known = list(self._at(path[:-1])["properties"])
        close = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        return f"there is no such key; {meant}"

    def _one_of(self, error: Any) -> str:
        names = [part["required"][0] for part in self._at(error.schema_path)]
        found = [name for name in names if name in error.instance]
        wanted = f"{', '.join(names[:-1])} and {names[-1]}"
        if not found:
            return f"it needs one of {wanted}"
        return f"it has {' and '.join(found)}; it may have only one of {wanted}"

    def _in_words(self, keyword: Any, error: Any) -> str:
        wanted, found = self._at(error.schema_path), _what(error.instance)
        match keyword:
            case "type":
                kinds = wanted if isinstance(wanted, list) else [wanted]
                return f"it must be {' or '.join(_KINDS[kind] for kind in kinds)}, not {found}"
            case "enum":
                return f"it must be one of {', '.join(map(str, wanted))}, not {found}"
            case "pattern":
                examples = self._at(error.schema_path[:-1]).get("examples")
                return f"{found} is not written like {' or '.join(examples or [wanted])}"
            case "minItems" | "minLength":
                return "it must not be empty"
            case "maxItems" | "maxLength":
                return f"it is too long: {wanted:,} at most"
            case "minimum":
                return f"it must be at least {wanted}, not {found}"
            case "exclusiveMinimum":
                return f"it must be more than {wanted}, not {found}"
            case "maximum":
                return f"it must be at most {wanted:,}, not {found}"
        return str(error.message)[:200]


_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _what(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else _as_json(value)


def _as_json(value: Any) -> str:
    """A value as messages show it, cut off where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"
