"""Checks messages against the rules in their protos (protovalidate), in this one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import protovalidate
from google.protobuf.message import Message

from muster.model.errors import InvalidArgument, Violation

if TYPE_CHECKING:
    from protovalidate import FieldPathElementPb


def check(message: Message) -> None:
    """Raises `InvalidArgument` with every violation, fields in proto path notation.

    About 1 µs for a small message; the first one of a type takes longer, as its rules are compiled.
    """
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        raise invalid([_violation_of(found) for found in error.violations]) from None


def violations_of(message: Message) -> list[Violation]:
    """Every violation; empty when the message is fine. For items that are refused one by one."""
    return [_violation_of(found) for found in protovalidate.collect_violations(message)]


def invalid(violations: Sequence[Violation]) -> InvalidArgument:
    """The error for a message with these violations; its text names the first."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    text = f"{first.field}: {first.description}" if first.field else first.description
    return InvalidArgument(text + more, violations=violations)


def _violation_of(found: protovalidate.Violation) -> Violation:
    proto = found.proto
    field = path_of(proto.field.elements) if proto.field else ""
    about_key = "the key " if proto.for_key else ""
    return Violation(field, about_key + (proto.message or proto.rule_id))


def path_of(elements: Iterable[FieldPathElementPb]) -> str:
    """The path as people write it: `spec.capabilities[0].name`, `labels["team"]`."""
    parts: list[str] = []
    for element in elements:
        subscript = "" if element.subscript is None else _subscript(element.subscript.value)
        parts.append(element.field_name + subscript)
    return ".".join(parts)


def _subscript(value: object) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'["{escaped}"]'
    return f"[{str(value).lower()}]"
