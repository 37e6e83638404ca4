"""Checks payloads against the capability's input schema before anything is queued."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from muster.model.errors import InvalidArgument, Violation
from muster.runtime.descriptor_pools import make_pool
from muster.scheduler.catalogue import Entry
from muster.v1.capability_pb2 import Capability, MessageType, Schema
from muster.v1.payload_pb2 import Payload

CHECKS_MAX = 10_000  # compiled schemas, about 5 KB each
PROBLEM_CHARS_MAX = 500


class BadSchema(InvalidArgument):
    """The schema cannot be used."""

    reason = "SCHEMA"


def _refuse_remote(uri: str) -> Any:
    raise ValueError(f"the reference {uri!r} is remote, and nothing is fetched")


def compile_json_schema(schema: Schema, where: str) -> tuple[Any, Any]:
    """A JSON Schema as (parsed, validator). Raises `BadSchema`."""
    try:
        parsed = json.loads(schema.json_schema)
        validator = jsonschema_rs.Draft202012Validator(parsed, retriever=_refuse_remote)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        text = str(error).splitlines()[0][:200]
        raise BadSchema(f"{where} is not a usable JSON Schema: {text}") from None
    return parsed, validator


def message_class(kind: MessageType) -> type[Message]:
    """The class of a registered protobuf type. Raises `InvalidArgument` (SCHEMA)."""
    pool = make_pool(kind.full_name, kind.file_descriptor_set)
    return GetMessageClass(pool.FindMessageTypeByName(kind.full_name))


def check_schema(schema: Schema, where: str) -> Any:
    """Raise where a schema cannot be used; a JSON Schema comes back parsed, None for another."""
    match schema.WhichOneof("kind"):
        case "json_schema":
            return compile_json_schema(schema, where)[0]
        case "message":
            message_class(schema.message)
    return None


def identity_of(capability: Capability) -> bytes:
    """What must be equal for two registrations to be the same version."""
    same = Capability()
    same.CopyFrom(capability)
    same.ClearField("description")
    same.ClearField("version")
    return same.SerializeToString(deterministic=True)


Check = Callable[[Payload], None]


class PayloadChecks:
    """Compiled input schemas, by catalogue entry."""

    def __init__(self) -> None:
        self._checks: dict[tuple[str, str, str], Check] = {}

    def of(self, entry: Entry) -> Check:
        """Raises `InvalidArgument` (PAYLOAD_MISMATCH) when a payload does not fit the entry.

        Content behind a blob reference is not read here: the agent's SDK checks it.
        """
        key = (entry.tenant, entry.name, str(entry.version))
        check = self._checks.get(key)
        if check is None:
            if len(self._checks) >= CHECKS_MAX:
                self._checks.clear()
            check = self._checks[key] = _check_of(entry)
        return check


def _check_of(entry: Entry) -> Check:
    name = f"{entry.name} {entry.version}"
    return check_of(entry.capability.input, name, _mismatch)


Mismatch = Callable[[str, str], InvalidArgument]  # problem, path within the value -> what to raise


def check_of(schema: Schema, name: str, mismatch: Mismatch) -> Check:
    """What checks payloads against a schema of this name; any payload fits one that is empty."""
    match schema.WhichOneof("kind"):
        case "json_schema":
            return _json_check(schema, name, mismatch)
        case "message":
            return _message_check(schema.message, mismatch)

    def check(payload: Payload) -> None:
        if payload.HasField("json"):
            _parse(payload.json, mismatch)

    return check


def _json_check(schema: Schema, name: str, mismatch: Mismatch) -> Check:
    _, validator = compile_json_schema(schema, f"the schema of {name}")

    def check(payload: Payload) -> None:
        text = payload.json
        if text:
            value = _parse(text, mismatch)
        else:
            content = payload.WhichOneof("content")
            if content == "blob":
                return
            if content not in (None, "json"):
                raise mismatch(f"is {content}; JSON is wanted", "")
            value = _parse(text, mismatch) if content else {}
        if not validator.is_valid(value):
            error = next(iter(validator.iter_errors(value)))
            path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path)
            raise mismatch(f"does not fit {name}: {error.message}", path)

    return check


def _message_check(kind: MessageType, mismatch: Mismatch) -> Check:
    made = message_class(kind)

    def check(payload: Payload) -> None:
        try:
            match payload.WhichOneof("content"):
                case "message":
                    found = payload.message.type_url.rpartition("/")[2]
                    if found != kind.full_name:
                        what = found or "message without type"
                        raise mismatch(f"is a {what}; a {kind.full_name} is wanted", "")
                    made.FromString(payload.message.value)
                case "blob":
                    return
                case "json" | None:
                    json_format.Parse(payload.json or "{}", made())
                case _:
                    raise mismatch(f"is bytes; a {kind.full_name} is wanted", "")
        except (json_format.ParseError, DecodeError, RecursionError) as error:
            raise mismatch(f"is no {kind.full_name}: {error}", "") from None

    return check


def _parse(text: str, mismatch: Mismatch) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise mismatch(f"is not JSON: {error}", "") from None


def _mismatch(problem: str, path: str) -> InvalidArgument:
    return mismatch_at(f"request.payload{path}", problem, "PAYLOAD_MISMATCH")


def mismatch_at(field: str, problem: str, reason: str) -> InvalidArgument:
    """The error that says what is wrong with a payload."""
    problem = problem[:PROBLEM_CHARS_MAX]
    return InvalidArgument(
        f"{field} {problem}", reason=reason, violations=[Violation(field, problem)]
    )
