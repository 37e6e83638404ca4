"""A definition's messages from objects and back, field by field in the forms that `forms` gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from buf.validate import validate_pb2
from muster.v1 import workflow_pb2
from muster.workflow.forms import BadForm, form_of, rules_of, write_duration


def is_required(field: Any) -> bool:
    """Whether a message without the field breaks the proto's rules."""
    rules = rules_of(field)
    if rules.required or rules.repeated.min_items:
        return True
    text = rules.string
    if field.containing_oneof is not None or field.is_repeated:
        return False
    return bool(text.min_len or (text.pattern and not re.search(text.pattern, "")))


def choices_of(kind: Any) -> Iterator[list[str]]:
    """The fields of each oneof of which one must be set."""
    for oneof in kind.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.oneof].required:
            yield [field.name for field in oneof.fields]


At = tuple[str | int, ...]
Note = Callable[[At, str], None]


def fill(message: Message, value: dict[str, Any], note: Note, at: At = ()) -> None:
    """Fills a message from an object that fits its schema; what does not fit is noted."""
    for name, inner in value.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        here = (*at, name)
        if field.is_repeated:
            held = getattr(message, name)
            for number, each in enumerate(inner):
                _add(held, field, each, note, (*here, number))
        else:
            _set(message, field, inner, note, here)


def _add(held: Any, field: Any, value: Any, note: Note, at: At) -> None:
    form = form_of(field)
    if form is None:
        fill(held.add(), value, note, at)
        return
    try:
        held.append(form.read(value))
    except BadForm as error:
        note(at, str(error))


def _set(message: Message, field: Any, value: Any, note: Note, at: At) -> None:
    form = form_of(field)
    if form is None:
        held = getattr(message, field.name)
        held.SetInParent()
        fill(held, value, note, at)
        return
    try:
        made = form.read(value)
        if isinstance(made, Message):
            _check_duration(field, made)
            getattr(message, field.name).CopyFrom(made)
        else:
            _check_bytes(field, made)
            setattr(message, field.name, made)
    except BadForm as error:
        note(at, str(error))


def _check_duration(field: Any, made: Message) -> None:
    rules = rules_of(field).duration
    for duration in _durations(made):
        nanos = duration.seconds * 10**9 + duration.nanos
        if rules.HasField("gt") and not nanos:
            message = "it must be longer than no time"
            raise BadForm(message)
        longest = rules.lte if rules.HasField("lte") else Duration(seconds=30 * 86400)
        if nanos > longest.seconds * 10**9 + longest.nanos:
            message = f"{write_duration(duration)} is too long: {write_duration(longest)} at most"
            raise BadForm(message)


def _durations(made: Message) -> Iterator[Duration]:
    if isinstance(made, Duration):
        yield made
    elif isinstance(made, workflow_pb2.Wait) and made.HasField("duration"):
        if not made.duration.ByteSize():
            message = "it must be longer than no time"
            raise BadForm(message)
        yield made.duration


def _check_bytes(field: Any, made: Any) -> None:
    most = rules_of(field).string.max_bytes
    if most and isinstance(made, str) and len(made.encode()) > most:
        message = f"it has {len(made.encode()):,} bytes, more than {most:,}"
        raise BadForm(message)


def plain(message: Message) -> dict[str, Any]:
    """The object that a message is written as, its keys in the order of the proto.

    Raises `BadForm` for what has no form.
    """
    value: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated:
            if held := getattr(message, field.name):
                value[field.name] = [_written(field, each) for each in held]
        elif field.has_presence:
            if message.HasField(field.name):
                value[field.name] = _written(field, getattr(message, field.name))
        elif held := getattr(message, field.name):
            value[field.name] = _written(field, held)
    return value


def _written(field: Any, value: Any) -> Any:
    form = form_of(field)
    return plain(value) if form is None else form.write(value)
