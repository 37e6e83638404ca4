"""Codecs of types that are made of other types: unions, arrays, mappings, literals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muster.agent.codec.annotations import Codec, Definitions, Misfit, compile_type, misfit

Arguments = tuple[Any, ...]


def compile_annotated(arguments: Arguments, definitions: Definitions) -> Codec:
    """`Annotated[T, "…"]`: a text describes the value, a dict is added to its schema as it is."""
    inner = compile_type(arguments[0], definitions)
    schema = dict(inner.schema)
    for extra in arguments[1:]:
        if isinstance(extra, str):
            schema["description"] = extra
        elif isinstance(extra, dict):
            schema.update(extra)
    return Codec(schema, inner.decode, inner.encode)


def compile_union(arguments: Arguments, definitions: Definitions) -> Codec:
    """The first member that fits decides, in the order in which they are written."""
    members = [compile_type(argument, definitions) for argument in arguments]
    expected = " or ".join(_name(member.schema) for member in members)
    schema = {"anyOf": [member.schema for member in members]}
    none = type(None)
    if len(members) == 2 and none in arguments:
        inner = members[1 - arguments.index(none)]
        return Codec(schema, _optional(inner.decode), _optional(inner.encode))
    return Codec(
        schema,
        _first([member.decode for member in members], expected),
        _first([member.encode for member in members], expected),
    )


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("type") or schema.get("$ref", "a value").rpartition("/")[2])


def _optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _first(converts: list[Callable[[Any], Any]], expected: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        for attempt in converts:
            try:
                return attempt(value)
            except Misfit:
                continue
        raise misfit(expected, value)

    return convert


def compile_literal(arguments: Arguments) -> Codec:
    """One of a few values, each of its very type: True is not 1."""
    for argument in arguments:
        if argument is not None and not isinstance(argument, str | int | bool):
            message = f"Literal[{argument!r}] has no JSON schema"
            raise TypeError(message)
    allowed = {(type(argument), argument) for argument in arguments}
    expected = "one of " + ", ".join(repr(argument) for argument in arguments)

    def check(value: Any) -> Any:
        if isinstance(value, str | int | None) and (type(value), value) in allowed:
            return value
        raise misfit(expected, value)

    return Codec({"enum": list(arguments)}, check, check)


def compile_array(arguments: Arguments, definitions: Definitions) -> Codec:
    """`list[T]` and its abstract kin; decodes to a list."""
    inner = compile_type(arguments[0] if arguments else Any, definitions)
    return Codec(
        {"type": "array", "items": inner.schema},
        _each(inner.decode, (list,)),
        _each(inner.encode, (list, tuple)),
    )


def _each(convert: Callable[[Any], Any], kinds: Any) -> Callable[[Any], list[Any]]:
    def convert_all(value: Any) -> list[Any]:
        if not isinstance(value, kinds):
            raise misfit("an array", value)
        try:
            return [convert(element) for element in value]
        except Misfit:
            raise _at_its_index(convert, value) from None

    return convert_all


def _at_its_index(convert: Callable[[Any], Any], elements: Any) -> Misfit:
    """Looks again for the element that did not fit, so that those that do pay nothing for it."""
    for index, element in enumerate(elements):
        try:
            convert(element)
        except Misfit as found:
            return found.below(f"[{index}]")
    raise AssertionError(elements)


def compile_set(
    make: Callable[[list[Any]], Any], arguments: Arguments, definitions: Definitions
) -> Codec:
    """`set[T]` and `frozenset[T]`: an array without duplicates."""
    inner = compile_type(arguments[0] if arguments else Any, definitions)
    decode = _each(inner.decode, (list,))
    encode = _each(inner.encode, (set, frozenset))

    def decode_set(value: Any) -> Any:
        elements = decode(value)
        try:
            made = make(elements)
        except TypeError:
            message = "an element cannot be in a set"
            raise Misfit(message) from None
        if len(made) < len(elements):
            message = "an element is there twice"
            raise Misfit(message)
        return made

    return Codec({"type": "array", "items": inner.schema, "uniqueItems": True}, decode_set, encode)


def compile_tuple(arguments: Arguments, definitions: Definitions) -> Codec:
    """`tuple[T, ...]` of any length, and `tuple[A, B]` of exactly that."""
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        array = compile_array(arguments[:1], definitions)
        return Codec(array.schema, lambda value: tuple(array.decode(value)), array.encode)
    members = [compile_type(argument, definitions) for argument in arguments]
    count = len(members)
    schema: dict[str, Any] = {"type": "array", "minItems": count, "maxItems": count}
    if members:
        schema["prefixItems"] = [member.schema for member in members]
    decode = _fixed([member.decode for member in members], (list,))
    encode = _fixed([member.encode for member in members], (list, tuple))
    return Codec(schema, lambda value: tuple(decode(value)), encode)


def _fixed(converts: list[Callable[[Any], Any]], kinds: Any) -> Callable[[Any], list[Any]]:
    def convert_all(value: Any) -> list[Any]:
        if not isinstance(value, kinds) or len(value) != len(converts):
            raise misfit(f"an array of {len(converts)}", value)
        converted = []
        for index, (convert, element) in enumerate(zip(converts, value, strict=True)):
            try:
                converted.append(convert(element))
            except Misfit as found:
                raise found.below(f"[{index}]") from None
        return converted

    return convert_all


def compile_mapping(arguments: Arguments, definitions: Definitions) -> Codec:
    """`dict[str, T]`, and `dict[int, T]` with its keys as decimal text."""
    key_type, value_type = arguments or (str, Any)
    if key_type not in (str, int):
        message = f"an object's keys are strings: dict[{key_type}, …] has no JSON schema"
        raise TypeError(message)
    inner = compile_type(value_type, definitions)
    schema: dict[str, Any] = {"type": "object", "additionalProperties": inner.schema}
    if key_type is int:
        schema["propertyNames"] = {"pattern": "^-?[0-9]+$"}
        decode = _entries(_key_to_int, inner.decode)
        return Codec(schema, decode, _entries(_key_from_int, inner.encode))
    return Codec(schema, _entries(_key_as_is, inner.decode), _entries(_key_as_is, inner.encode))


def _key_as_is(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise misfit("a string as key", key)


def _key_to_int(key: Any) -> int:
    try:
        return int(key)
    except ValueError:
        message = "expected decimal digits as key"
        raise Misfit(message) from None


def _key_from_int(key: Any) -> str:
    if isinstance(key, int):
        return str(key)
    raise misfit("an integer as key", key)


def _entries(
    convert_key: Callable[[Any], Any], convert_value: Callable[[Any], Any]
) -> Callable[[Any], dict[Any, Any]]:
    def convert(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise misfit("an object", value)
        converted = {}
        for key, element in value.items():
            try:
                converted[convert_key(key)] = convert_value(element)
            except Misfit as found:
                raise found.below(str(key)) from None
        return converted

    return convert
