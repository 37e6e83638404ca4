"""Checks payloads against the capability's input schema before anything is queued."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs

from muster.model.errors import InvalidArgument, Violation
from muster.scheduler.catalogue import Entry
from muster.v1.capability_pb2 import Capability, Schema
from muster.v1.payload_pb2 import Payload

VALIDATORS_MAX = 10_000  # compiled schemas, about 5 KB each


class BadSchema(InvalidArgument):
    """The schema cannot be used."""

    reason = "SCHEMA"


def _refuse_remote(uri: str) -> Any:
    raise ValueError(f"the reference {uri!r} is remote, and nothing is fetched")


def compile_schema(schema: Schema, where: str) -> tuple[Any, Any]:
    """A JSON Schema as (parsed, validator); (None, None) for another kind. Raises `BadSchema`."""
    if schema.WhichOneof("kind") != "json_schema":
        return None, None
    try:
        parsed = json.loads(schema.json_schema)
        validator = jsonschema_rs.Draft202012Validator(parsed, retriever=_refuse_remote)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        text = str(error).splitlines()[0][:200]
        raise BadSchema(f"{where} is not a usable JSON Schema: {text}") from None
    return parsed, validator


def identity_of(capability: Capability) -> bytes:
    """What must be equal for two registrations to be the same version."""
    same = Capability()
    same.CopyFrom(capability)
    same.ClearField("description")
    same.ClearField("version")
    return same.SerializeToString(deterministic=True)


class PayloadChecks:
    """Compiled input schemas, by catalogue entry."""

    def __init__(self) -> None:
        self._validators: dict[tuple[str, str, str], Any] = {}

    def check(self, entry: Entry, payload: Payload) -> None:
        """Raise `InvalidArgument` (PAYLOAD_MISMATCH) when the payload does not fit.

        Content behind a blob reference is not read here: the agent's SDK checks it.
        """
        schema = entry.capability.input
        kind = schema.WhichOneof("kind")
        content = payload.WhichOneof("content")
        if content == "json":
            value = self._parse(payload.json)
            if kind == "json_schema":
                self._validate(entry, schema, value)
        elif kind is None or content == "blob":
            return
        elif kind == "message" and content == "message":
            wanted = schema.message.full_name
            found = payload.message.type_url.rpartition("/")[2]
            if found != wanted:
                raise _mismatch(f"is a {found or 'message without type'}; {wanted} is wanted")
        elif kind == "json_schema" and content is None:
            self._validate(entry, schema, {})
        else:
            wanted = "JSON" if kind == "json_schema" else f"a {schema.message.full_name}"
            raise _mismatch(f"is {content or 'empty'}; {wanted} is wanted")

    def _parse(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _mismatch(f"is not JSON: {str(error)[:200]}") from None

    def _validate(self, entry: Entry, schema: Schema, value: Any) -> None:
        key = (entry.tenant, entry.name, str(entry.version))
        validator = self._validators.get(key)
        if validator is None:
            if len(self._validators) >= VALIDATORS_MAX:
                self._validators.clear()
            _, validator = compile_schema(schema, "the input schema")
            self._validators[key] = validator
        if validator.is_valid(value):
            return
        error = next(iter(validator.iter_errors(value)))
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path)
        raise _mismatch(f"does not fit {entry.name} {entry.version}: {error.message[:500]}", path)


def _mismatch(problem: str, path: str = "") -> InvalidArgument:
    field = f"request.payload{path}"
    return InvalidArgument(
        f"{field} {problem}",
        reason="PAYLOAD_MISMATCH",
        violations=[Violation(field, problem)],
    )
