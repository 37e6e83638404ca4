"""Python's type annotations as JSON Schema, with what reads and writes such values.

`compile_type` turns an annotation into a `Codec`: its schema (draft 2020-12), a `decode` from
parsed JSON to Python values, and an `encode` back. Both check, so that a wrong value is found where
it enters or leaves a capability, with the path to it. Classes become entries of `$defs`, which also
makes recursive types work.

Decoding is strict about types, as the schema is: "5" is no integer. The one thing that passes
between number types is what JSON Schema lets pass: 1.0 is an integer, and 1 a number.
"""

from __future__ import annotations

import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Decode = Callable[[Any], Any]
Encode = Callable[[Any], Any]


class Misfit(ValueError):
    """A value that does not fit its type: `where` is the path to it, `what` the reason."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(what, where)
        self.what = what
        self.where = where

    def below(self, part: str) -> Misfit:
        """The same misfit seen from one level further out."""
        joint = "" if not self.where or self.where.startswith("[") else "."
        return Misfit(self.what, f"{part}{joint}{self.where}")

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


@dataclass(slots=True)
class Codec:
    """A compiled annotation."""

    schema: dict[str, Any]
    decode: Decode
    encode: Encode


class Definitions:
    """The classes that one schema has met: its `$defs`, and their codecs by class."""

    def __init__(self) -> None:
        self.schemas: dict[str, dict[str, Any]] = {}
        self._codecs: dict[Any, Codec] = {}

    def codec_of(self, cls: type, compile_class: Callable[[], Codec]) -> Codec:
        """The class's codec, whose schema is a reference; compiled the first time it is met."""
        known = self._codecs.get(cls)
        if known is not None:
            return known
        name = cls.__name__
        if name in self.schemas:
            message = f"two different types are called {name}; their schema needs two names"
            raise TypeError(message)
        self.schemas[name] = {}
        codec = Codec({"$ref": f"#/$defs/{name}"}, _not_compiled, _not_compiled)
        # A class may hold itself: whoever meets it meanwhile goes through this indirection.
        self._codecs[cls] = Codec(codec.schema, _late_decode(codec), _late_encode(codec))
        compiled = compile_class()
        self.schemas[name] = compiled.schema
        codec.decode, codec.encode = compiled.decode, compiled.encode
        self._codecs[cls] = codec
        return codec

    def reachable(self, schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The definitions that a schema refers to, directly or through others."""
        found: dict[str, dict[str, Any]] = {}
        pending: list[Any] = [schema]
        while pending:
            part = pending.pop()
            if isinstance(part, list):
                pending.extend(part)
            elif isinstance(part, dict):
                pending.extend(part.values())
                name = str(part.get("$ref", "")).removeprefix("#/$defs/")
                if name in self.schemas and name not in found:
                    found[name] = self.schemas[name]
                    pending.append(found[name])
        return found

    def add(self, schemas: Mapping[str, dict[str, Any]]) -> None:
        """Takes in the `$defs` of a schema that somebody else made."""
        for name, schema in schemas.items():
            if self.schemas.setdefault(name, schema) != schema:
                message = f"two different types are called {name}; their schema needs two names"
                raise TypeError(message)


def _late_decode(codec: Codec) -> Decode:
    return lambda value: codec.decode(value)  # noqa: PLW0108 - it is filled in later


def _late_encode(codec: Codec) -> Encode:
    return lambda value: codec.encode(value)  # noqa: PLW0108 - it is filled in later


def _not_compiled(value: Any) -> Any:
    raise AssertionError(value)


def compile_type(annotation: Any, definitions: Definitions) -> Codec:
    """The codec of an annotation. Raises `TypeError` for one that JSON has nothing for."""
    if annotation is None:
        annotation = type(None)
    origin = typing.get_origin(annotation)
    if origin is not None:
        return _compile_generic(annotation, origin, definitions)
    if not isinstance(annotation, abc.Hashable):
        message = f"{annotation!r} is no type"
        raise TypeError(message)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, typing.NewType):
        return compile_type(annotation.__supertype__, definitions)
    if hasattr(annotation, "__value__"):  # a `type X = …` statement
        return compile_type(annotation.__value__, definitions)
    if annotation in _BARE:
        return compile_type(_BARE[annotation], definitions)
    from muster.agent.codec.classes import compile_class

    return compile_class(annotation, definitions)


def root_schema(schema: dict[str, Any], definitions: Definitions) -> dict[str, Any]:
    """A schema that stands alone: with the definitions that it refers to, and no others.

    A root that is one class is written out rather than referred to.
    """
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    root = definitions.schemas.get(name, schema)
    used = definitions.reachable(root)
    return {**root, "$defs": used} if used else root


# --- scalars --------------------------------------------------------------------------------------


def describe(value: Any) -> str:
    """What a value is, in JSON's words and without its content, for messages."""
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


_NAMES: tuple[tuple[Any, str], ...] = (
    (type(None), "null"),
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a number"),
    (str, "a string"),
    ((list, tuple), "an array"),
    (dict, "an object"),
)


def misfit(expected: str, value: Any) -> Misfit:
    """The misfit of a value that is of the wrong type."""
    return Misfit(f"expected {expected}, got {describe(value)}")


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise misfit("a string", value)


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise misfit("an integer", value)


def _number(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise misfit("a number", value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise misfit("a boolean", value)


def _null(value: Any) -> None:
    if value is not None:
        raise misfit("null", value)


def _anything(value: Any) -> Any:
    return value


_SCALARS: dict[Any, Codec] = {
    str: Codec({"type": "string"}, _string, _string),
    int: Codec({"type": "integer"}, _integer, _integer),
    float: Codec({"type": "number"}, _number, _number),
    bool: Codec({"type": "boolean"}, _boolean, _boolean),
    type(None): Codec({"type": "null"}, _null, _null),
    Any: Codec({}, _anything, _anything),
    object: Codec({}, _anything, _anything),
}

_BARE: dict[Any, Any] = {
    list: list[Any],
    tuple: tuple[Any, ...],
    set: set[Any],
    frozenset: frozenset[Any],
    dict: dict[str, Any],
}


def _compile_generic(annotation: Any, origin: Any, definitions: Definitions) -> Codec:
    from muster.agent.codec import generics

    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return generics.compile_annotated(arguments, definitions)
    if origin is typing.Union or origin is types.UnionType:
        return generics.compile_union(arguments, definitions)
    if origin is typing.Literal:
        return generics.compile_literal(arguments)
    if origin is tuple:
        return generics.compile_tuple(arguments, definitions)
    if origin in (dict, abc.Mapping, abc.MutableMapping):
        return generics.compile_mapping(arguments, definitions)
    if origin in (set, frozenset, abc.Set, abc.MutableSet):
        return generics.compile_set(
            frozenset if origin is frozenset else set, arguments, definitions
        )
    if origin in (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable):
        return generics.compile_array(arguments, definitions)
    message = f"{annotation} has no JSON schema"
    raise TypeError(message)
