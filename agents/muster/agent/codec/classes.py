"""Codecs of classes: dataclasses, TypedDicts, named tuples, enums and pydantic models.

pydantic is never imported here: a class can only be one of its models if somebody else imported it.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
import typing
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from muster.agent.codec.annotations import Codec, Definitions, Misfit, compile_type, misfit

MISSING: Any = object()


class Field(NamedTuple):
    """One property of an object."""

    name: str
    annotation: Any
    required: bool
    default: Any = MISSING


def compile_class(cls: Any, definitions: Definitions) -> Codec:
    """The codec of a class. Raises `TypeError` for one that has no place in JSON."""
    if not isinstance(cls, type) and not typing.is_typeddict(cls):
        message = f"{cls!r} has no JSON schema"
        raise TypeError(message)
    if is_model(cls):
        return _compile_model(cls, definitions)
    for is_such, compile_such in _KINDS:
        if is_such(cls):
            return definitions.codec_of(cls, partial(compile_such, cls, definitions))
    from muster.agent.codec.text import text_codec

    codec = text_codec(cls)
    if codec is None:
        message = f"{cls.__qualname__} has no JSON schema: use a dataclass, or a type of JSON"
        raise TypeError(message)
    return codec


def is_model(cls: Any) -> bool:
    """Whether it is a pydantic model."""
    pydantic: Any = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(cls, type) and issubclass(cls, pydantic.BaseModel)


def is_object(cls: Any) -> bool:
    """Whether a class stands for a JSON object of its own, so that it can be a whole input."""
    return dataclasses.is_dataclass(cls) or typing.is_typeddict(cls) or is_model(cls)


# --- objects --------------------------------------------------------------------------------------


def object_schema(fields: Iterable[Field], definitions: Definitions) -> dict[str, Any]:
    """The schema of an object that has these properties and no others."""
    properties: dict[str, Any] = {}
    required = []
    for field in fields:
        codec = compile_type(field.annotation, definitions)
        properties[field.name] = _with_default(codec, field.default)
        if field.required:
            required.append(field.name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {**schema, "additionalProperties": False}


def _with_default(codec: Codec, default: Any) -> dict[str, Any]:
    if default is MISSING:
        return codec.schema
    try:
        encoded = codec.encode(default)
        json.dumps(encoded, allow_nan=False)
    except (ValueError, TypeError):
        return codec.schema
    return {**codec.schema, "default": encoded}


def object_decoder(
    fields: Iterable[Field], definitions: Definitions
) -> Callable[[Any], dict[str, Any]]:
    """Decodes an object to a dict of its properties; what is absent is left out."""
    fields = tuple(fields)
    converts = {field.name: compile_type(field.annotation, definitions) for field in fields}
    required = tuple(field.name for field in fields if field.required)

    def decode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise misfit("an object", value)
        decoded = {}
        for name, element in value.items():
            codec = converts.get(name)
            if codec is None:
                message = "there is no such property"
                raise Misfit(message, str(name))
            try:
                decoded[name] = codec.decode(element)
            except Misfit as found:
                raise found.below(name) from None
        for name in required:
            if name not in decoded:
                message = "it is required"
                raise Misfit(message, name)
        return decoded

    return decode


def _object_encoder(
    fields: Iterable[Field], definitions: Definitions, read: Callable[[Any, str], Any]
) -> Callable[[Any], dict[str, Any]]:
    codecs = [(field.name, compile_type(field.annotation, definitions)) for field in fields]

    def encode(value: Any) -> dict[str, Any]:
        encoded = {}
        for name, codec in codecs:
            element = read(value, name)
            if element is MISSING:
                continue
            try:
                encoded[name] = codec.encode(element)
            except Misfit as found:
                raise found.below(name) from None
        return encoded

    return encode


def _checked(cls: type, encode: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    def encode_instance(value: Any) -> dict[str, Any]:
        if not isinstance(value, cls):
            raise misfit(f"a {cls.__name__}", value)
        return encode(value)

    return encode_instance


def _compile_dataclass(cls: Any, definitions: Definitions) -> Codec:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [
        Field(
            field.name,
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            MISSING if field.default is dataclasses.MISSING else field.default,
        )
        for field in dataclasses.fields(cls)
        if field.init
    ]
    decode = object_decoder(fields, definitions)
    encode = _object_encoder(fields, definitions, getattr)
    return Codec(
        object_schema(fields, definitions),
        lambda value: _made(cls, decode(value)),
        _checked(cls, encode),
    )


def _made(cls: Any, properties: dict[str, Any]) -> Any:
    """The instance. A class that checks its own values in its constructor is part of the check."""
    try:
        return cls(**properties)
    except (TypeError, ValueError) as error:
        raise Misfit(str(error)) from None


def _compile_named_tuple(cls: Any, definitions: Definitions) -> Codec:
    hints = typing.get_type_hints(cls, include_extras=True)
    defaults = cls._field_defaults
    fields = [
        Field(name, hints.get(name, Any), name not in defaults, defaults.get(name, MISSING))
        for name in cls._fields
    ]
    decode = object_decoder(fields, definitions)
    encode = _object_encoder(fields, definitions, getattr)
    return Codec(
        object_schema(fields, definitions),
        lambda value: cls(**decode(value)),
        _checked(cls, encode),
    )


def _compile_typed_dict(cls: Any, definitions: Definitions) -> Codec:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [
        Field(name, *_qualified(hint, name in cls.__required_keys__))
        for name, hint in hints.items()
    ]
    decode = object_decoder(fields, definitions)
    encode_known = _object_encoder(
        fields, definitions, lambda value, name: value.get(name, MISSING)
    )
    known = frozenset(hints)
    required = frozenset(field.name for field in fields if field.required)

    def encode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise misfit("an object", value)
        for name in value.keys() ^ known:
            if name in required or name not in known:
                what = "it is required" if name in required else "there is no such property"
                raise Misfit(what, str(name))
        return encode_known(value)

    return Codec(object_schema(fields, definitions), decode, encode)


def _qualified(hint: Any, required: bool) -> tuple[Any, bool]:
    """The annotation itself, and whether the key is required.

    Where annotations are kept as text, `__required_keys__` has not seen what they say.
    """
    origin = typing.get_origin(hint)
    if origin is typing.Required or origin is typing.NotRequired:
        return typing.get_args(hint)[0], origin is typing.Required
    return hint, required


def _compile_enum(cls: Any, _definitions: Definitions) -> Codec:
    values = [member.value for member in cls]
    for value in values:
        if not isinstance(value, str | int | float) and value is not None:
            message = f"{cls.__qualname__} has members that JSON has nothing for"
            raise TypeError(message)
    members = {(type(value), value): member for value, member in zip(values, cls, strict=True)}
    expected = "one of " + ", ".join(repr(value) for value in values)

    def decode(value: Any) -> Any:
        if isinstance(value, str | int | float | None) and (type(value), value) in members:
            return members[type(value), value]
        raise misfit(expected, value)

    def encode(value: Any) -> Any:
        if isinstance(value, cls):
            return value.value
        raise misfit(f"a {cls.__name__}", value)

    return Codec({"enum": values}, decode, encode)


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any, Definitions], Codec]], ...] = (
    (typing.is_typeddict, _compile_typed_dict),
    (dataclasses.is_dataclass, _compile_dataclass),
    (lambda cls: issubclass(cls, enum.Enum), _compile_enum),
    (lambda cls: issubclass(cls, tuple) and hasattr(cls, "_fields"), _compile_named_tuple),
)


# --- pydantic -------------------------------------------------------------------------------------


def _compile_model(cls: Any, definitions: Definitions) -> Codec:
    schema = cls.model_json_schema(ref_template="#/$defs/{model}")
    definitions.add(schema.pop("$defs", {}))
    definitions.add({cls.__name__: schema})

    def decode(value: Any) -> Any:
        try:
            # From text and not from the parsed value: what a strict model takes differs.
            return cls.model_validate_json(json.dumps(value))
        except ValueError as error:
            raise _misfit_of_model(error) from None

    def encode(value: Any) -> Any:
        if not isinstance(value, cls):
            raise misfit(f"a {cls.__name__}", value)
        return value.model_dump(mode="json", by_alias=True)

    return Codec({"$ref": f"#/$defs/{cls.__name__}"}, decode, encode)


def _misfit_of_model(error: Any) -> Misfit:
    first = error.errors(include_url=False, include_input=False)[0]
    return Misfit(first["msg"], ".".join(str(part) for part in first["loc"]))
