"""What is known of a value before there is one: a JSON Schema, and what follows from it.

Nothing here guesses. Where a schema says too little, or says it in a way that is not followed here,
the value may be anything, and a run will tell. A mismatch is found only where no value could fit;
what is optional or a union fits where one of its kinds does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

REFERENCES_MAX = 32  # followed one after the other
BRANCHES_MAX = 256  # of unions within unions that are looked at; beyond them anything goes
VALUES_SHOWN_MAX = 6
BRANCHES = ("anyOf", "oneOf")
# With one of these beside `properties`, more keys may be known than are listed there.
OPEN = frozenset({"allOf", "$ref", "if", "dependentSchemas", "patternProperties", "$dynamicRef"})

KINDS = ("object", "array", "string", "integer", "number", "boolean", "null")
WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_PLURALS = {
    "object": "objects",
    "array": "lists",
    "string": "strings",
    "integer": "integers",
    "number": "numbers",
    "boolean": "booleans",
    "null": "nulls",
}


class NoSuch(ValueError):
    """A value of this shape has no such member; the message says what it has."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema, and the whole that its references are within.

    In the place of a part, the schema may hold a shape, which belongs to another whole.
    """

    schema: Any = True
    root: Any = field(default=True, repr=False, compare=False)

    def within(self, schema: Any) -> Shape:
        """A part of the same whole."""
        return schema if isinstance(schema, Shape) else Shape(schema, self.root)

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The schema behind references that stand alone; empty where anything goes."""
        schema = self.schema
        for _ in range(REFERENCES_MAX):
            if not isinstance(schema, Mapping):
                return {}
            if "$ref" not in schema:
                return schema
            if set(schema) - {"$ref", "description", "title", "default", "$defs", "$schema"}:
                return {}
            schema = _referred(self.root, schema["$ref"])
        return {}

    @property
    def branches(self) -> list[Shape] | None:
        """The alternatives of a union; None where it is none."""
        schema = self.resolved
        for word in BRANCHES:
            if isinstance(schema.get(word), list):
                return [self.within(each) for each in schema[word]]
        return None

    @property
    def kinds(self) -> frozenset[str]:
        """The JSON types that it may have."""
        return _kinds(self, [BRANCHES_MAX])

    @property
    def values(self) -> list[Any] | None:
        """All values that it may have, where they are listed."""
        schema = self.resolved
        if "const" in schema:
            return [schema["const"]]
        listed = schema.get("enum")
        return listed if isinstance(listed, list) else None

    def member(self, key: str | int) -> Shape:
        """What is at a key or an index. Raises `NoSuch`."""
        return self._member(key, [BRANCHES_MAX])

    def _member(self, key: str | int, left: list[int]) -> Shape:
        left[0] -= 1
        if left[0] < 0:
            return ANYTHING
        if (branches := self.branches) is not None:
            return _union_of_members(branches, key, left)
        if isinstance(key, int):
            return self._element(key)
        if "object" not in self.kinds:
            raise NoSuch(f"is {describe(self)}, and so has no {key!r}")
        schema = self.resolved
        known = schema.get("properties")
        known = known if isinstance(known, Mapping) else {}
        if key in known:
            return self.within(known[key])
        if OPEN & schema.keys():
            return ANYTHING
        more = schema.get("additionalProperties", True)
        if more is False:
            has = f"it has {_listed(known)}" if known else "it has no keys"
            raise NoSuch(f"has no {key!r}; {has}")
        return self.within(more)

    def _element(self, index: int) -> Shape:
        if not {"array", "object"} & self.kinds:
            raise NoSuch(f"is {describe(self)}, and so has no [{index}]")
        first = self.resolved.get("prefixItems")
        if isinstance(first, list) and 0 <= index < len(first):
            return self.within(first[index])
        return self.element

    @property
    def element(self) -> Shape:
        """What any element of a list is, as far as all are alike."""
        schema = self.resolved
        first = schema.get("prefixItems")
        if isinstance(first, list) and first:
            if schema.get("items") is not False:
                return ANYTHING
            return union(self.within(each) for each in first)
        return self.within(schema.get("items", True))


ANYTHING = Shape()
BOOLEAN, INTEGER, NUMBER, STRING, NULL = (
    Shape({"type": kind}) for kind in ("boolean", "integer", "number", "string", "null")
)
ARRAY = Shape({"type": "array"})


def shape_of_schema(text: str) -> Shape:
    """The shape that a JSON Schema describes; anything where it is none."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return ANYTHING
    return Shape(parsed, parsed)


def constant(value: Any) -> Shape:
    """The shape of one value."""
    return Shape({"const": value})


def list_of(element: Shape) -> Shape:
    """A list whose elements have this shape."""
    return Shape({"type": "array", "items": element})


def list_with(elements: list[Shape]) -> Shape:
    """A list of exactly these elements."""
    return Shape({"type": "array", "prefixItems": elements, "items": False})


def object_with(members: Mapping[str, Shape]) -> Shape:
    """An object of exactly these members."""
    return Shape(
        {
            "type": "object",
            "properties": dict(members),
            "required": list(members),
            "additionalProperties": False,
        }
    )


def union(shapes: Iterable[Shape]) -> Shape:
    """One of several."""
    shapes = list(shapes)
    if not shapes or any(shape.resolved == {} for shape in shapes):
        return ANYTHING
    return shapes[0] if len(shapes) == 1 else Shape({"anyOf": shapes})


def _union_of_members(branches: list[Shape], key: str | int, left: list[int]) -> Shape:
    found, problem = [], None
    for branch in branches:
        try:
            found.append(branch._member(key, left))
        except NoSuch as error:
            if problem is None or "null" in str(problem):
                problem = error
    if not found and problem is not None:
        raise problem
    return union(found)


def _referred(root: Any, reference: Any) -> Any:
    """What a local reference points to; True, which is anything, where it is not followed."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return True
    at = root
    for escaped in reference.split("/")[1:]:
        part = escaped.replace("~1", "/").replace("~0", "~")
        if not isinstance(at, Mapping) or part not in at:
            return True
        at = at[part]
    return at


_ALL = frozenset(KINDS)


def _kinds(shape: Shape, left: list[int]) -> frozenset[str]:
    """`left` counts down, for unions can hold themselves."""
    schema = shape.resolved
    left[0] -= 1
    if not schema or left[0] < 0:
        return _ALL
    if (values := shape.values) is not None:
        return frozenset(map(kind_of, values)) or _ALL
    kinds = _ALL
    if "type" in schema:
        named = schema["type"]
        kinds = frozenset([named] if isinstance(named, str) else named) & _ALL or _ALL
    if (branches := shape.branches) is not None:
        kinds &= frozenset().union(*(_kinds(branch, left) for branch in branches)) or _ALL
    return kinds or _ALL


def kind_of(value: Any) -> str:
    """The JSON type of a value; a whole number is an integer, however it is written."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


# --- in words -------------------------------------------------------------------------------------


def describe(shape: Shape) -> str:
    """What a value of this shape is: "a list of strings", "a string or null", "one of 1, 2"."""
    values = shape.values
    if values is not None:
        shown = ", ".join(json.dumps(value, ensure_ascii=False)[:40] for value in values[:6])
        if len(values) == 1:
            return shown
        return f"one of {shown}{', …' if len(values) > VALUES_SHOWN_MAX else ''}"
    kinds = shape.kinds
    if kinds == _ALL:
        return "anything"
    if kinds == {"array"} and shape.branches is None:
        element = shape.element.kinds
        if element != _ALL and len(element) == 1:
            return f"a list of {_PLURALS[next(iter(element))]}"
    if "number" in kinds:
        kinds -= {"integer"}
    return " or ".join(WORDS[kind] for kind in KINDS if kind in kinds)


def _listed(keys: Iterable[str]) -> str:
    names = list(keys)
    more = len(names) - VALUES_SHOWN_MAX
    return ", ".join(names[:VALUES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def required_of(shape: Shape) -> Iterator[str]:
    """The keys that an object of this shape must have."""
    required = shape.resolved.get("required")
    if isinstance(required, list):
        yield from (key for key in required if isinstance(key, str))
