"""Checks messages in this one place: against the rules in their protos (protovalidate), and that
every Timestamp and Duration in them is one.

Both of these are plain numbers on the wire; what they may be is written in their documentation, and
no rule checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from muster.model.errors import InvalidArgument, Violation
from muster.wire.times import is_duration, is_timestamp

if TYPE_CHECKING:
    from protovalidate import FieldPathElementPb

_TIMES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "google.protobuf.Timestamp": (is_timestamp, "must be a time in the years 1 to 9999"),
    "google.protobuf.Duration": (is_duration, "must be at most 10,000 years, and one sign's"),
}


def check(message: Message) -> None:
    """Raises `InvalidArgument` with every violation, fields in proto path notation.

    About 1 µs for a small message; the first one of a type takes longer, as its rules are compiled.
    """
    found: list[Violation] = []
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        found += map(_violation_of, error.violations)
    found += _wrong_times(message, "")
    if found:
        raise invalid(found)


def violations_of(message: Message) -> list[Violation]:
    """Every violation; empty when the message is fine. For items that are refused one by one."""
    found = [_violation_of(each) for each in protovalidate.collect_violations(message)]
    return [*found, *_wrong_times(message, "")]


def _wrong_times(message: Message, path: str) -> Iterator[Violation]:
    """Timestamps and durations that are out of range, in the message and all that it holds."""
    for field in _fields_with_times(message.DESCRIPTOR):
        held: Any = getattr(message, field.name)
        if field.is_repeated:
            for number, each in enumerate(held):
                yield from _wrong_time(each, f"{path}{field.name}[{number}]")
        elif message.HasField(field.name):
            yield from _wrong_time(held, path + field.name)


def _wrong_time(held: Any, path: str) -> Iterator[Violation]:
    rule = _TIMES.get(held.DESCRIPTOR.full_name)
    if rule is None:
        yield from _wrong_times(held, path + ".")
    elif not rule[0](held):
        yield Violation(path, rule[1])


@cache
def _fields_with_times(kind: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields through which a message of this type holds times. Maps of ours hold none."""
    return tuple(
        field
        for field in kind.fields
        if field.message_type is not None
        and not field.message_type.GetOptions().map_entry
        and _holds_times(field.message_type, frozenset({kind}))
    )


def _holds_times(kind: Descriptor, within: frozenset[Descriptor]) -> bool:
    if kind.full_name in _TIMES:
        return True
    return kind not in within and any(
        _holds_times(field.message_type, within | {kind})
        for field in kind.fields
        if field.message_type is not None
    )


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
