"""What may be registered, what a selector finds, and which payloads fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from muster.model.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from muster.model.versions import parse_version
from muster.scheduler.catalogue import Catalogue, Entry
from muster.scheduler.compatibility import first_break
from muster.scheduler.schemas import PayloadChecks, check_schema
from muster.v1.capability_pb2 import Capability, Schema
from muster.v1.payload_pb2 import Binary, Payload

TEXT: dict[str, Any] = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
}


def entry(version: str = "1.0.0", schema: Any = TEXT, identity: bytes = b"") -> Entry:
    capability = Capability(name="a.b", version=version)
    if schema is not None:
        capability.input.json_schema = json.dumps(schema)
    return Entry(
        "default", "a.b", parse_version(version), 1, 0, identity or b"same", schema, capability
    )


def catalogue(*versions: str) -> Catalogue:
    made = Catalogue()
    for version in versions:
        made.add(entry(version))
    return made


def test_a_version_that_is_there_with_the_same_schemas_is_nothing_new() -> None:
    assert not catalogue("1.0.0").check(entry())


def test_a_version_that_is_there_with_other_schemas_is_refused() -> None:
    with pytest.raises(AlreadyExists):
        catalogue("1.0.0").check(entry(identity=b"other"))


def test_a_minor_version_that_takes_less_is_refused_and_a_major_one_is_not() -> None:
    stricter = {**TEXT, "required": ["text", "language"]}
    with pytest.raises(FailedPrecondition, match=r"input\.language has become required"):
        catalogue("1.0.0").check(entry("1.1.0", stricter))
    assert catalogue("1.0.0").check(entry("2.0.0", stricter))


@pytest.mark.parametrize(
    ("selector", "found"), [("", "2.0.0"), ("1", "1.4.0"), ("1.2", "1.4.0"), ("1.0.0", "1.0.0")]
)
def test_a_selector_finds_the_newest_version_that_fits(selector: str, found: str) -> None:
    made = catalogue("1.0.0", "1.4.0", "2.0.0")
    resolved, entry_found = made.resolve("default", "a.b", selector)
    assert str(entry_found.version) == found
    assert resolved == (selector or "2")


def test_what_nobody_ever_offered_is_not_found() -> None:
    for tenant, name, selector in (
        ("default", "x", ""),
        ("other", "a.b", ""),
        ("default", "a.b", "3"),
    ):
        with pytest.raises(NotFound):
            catalogue("1.0.0").resolve(tenant, name, selector)


@pytest.mark.parametrize(
    ("new", "broken"),
    [
        ({**TEXT, "properties": {**TEXT["properties"], "n": {"type": "integer"}}}, False),
        ({**TEXT, "required": []}, False),
        ({**TEXT, "properties": {"text": {"type": ["string", "null"]}}}, False),
        ({**TEXT, "properties": {"text": {"type": "integer"}}}, True),
        ({**TEXT, "properties": {"text": {"type": "string", "maxLength": 5}}}, True),
        ({**TEXT, "properties": {"text": {"type": "string", "enum": ["a"]}}}, True),
        ({**TEXT, "properties": {}, "additionalProperties": False}, True),
        ({**TEXT, "additionalProperties": False}, True),
        (None, False),
        (True, False),
    ],
)
def test_a_schema_that_takes_less_is_noticed(new: Any, broken: bool) -> None:
    assert bool(first_break(TEXT, new)) is broken


@pytest.mark.parametrize(
    "schema", ["not json", '{"type": 5}', '{"$ref": "http://example.com/schema"}']
)
def test_a_schema_that_cannot_be_used_is_refused(schema: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_schema(Schema(json_schema=schema), "the input schema")
    assert refused.value.reason == "SCHEMA"


def test_json_that_does_not_fit_is_refused_with_the_place() -> None:
    checks = PayloadChecks()
    checks.of(entry())(Payload(json='{"text": "hello"}'))
    with pytest.raises(InvalidArgument) as refused:
        checks.of(entry())(Payload(json='{"text": 5}'))
    assert refused.value.violations[0].field == "request.payload.text"
    for bad in ("{", '{"text": ', "[" * 100_000):
        with pytest.raises(InvalidArgument):
            checks.of(entry())(Payload(json=bad))


def test_an_absent_payload_counts_as_an_empty_object() -> None:
    checks = PayloadChecks()
    checks.of(entry("1.0.0", {"type": "object"}))(Payload())
    with pytest.raises(InvalidArgument):
        checks.of(entry("1.0.1"))(Payload())


def test_a_capability_without_a_schema_takes_anything_that_can_be_read() -> None:
    checks = PayloadChecks()
    for payload in (Payload(), Payload(json="[1]"), Payload(binary=Binary(data=b"x"))):
        checks.of(entry(schema=None))(payload)
    with pytest.raises(InvalidArgument):
        checks.of(entry(schema=None))(Payload(json="nonsense"))


def message_entry() -> Entry:
    file = descriptor_pb2.FileDescriptorProto(name="acme.proto", package="acme", syntax="proto3")
    message = file.message_type.add(name="Invoice")
    message.field.add(name="total", number=1, type=3, label=1)
    files = descriptor_pb2.FileDescriptorSet(file=[file])
    made = entry(schema=None)
    made.capability.input.message.full_name = "acme.Invoice"
    made.capability.input.message.file_descriptor_set = files.SerializeToString()
    return made


def test_a_protobuf_capability_takes_its_message_or_that_as_json() -> None:
    checks, invoice = PayloadChecks(), message_entry()
    good = Payload()
    good.message.type_url = "type.googleapis.com/acme.Invoice"
    good.message.value = b"\x08\x05"
    checks.of(invoice)(good)
    checks.of(invoice)(Payload(json='{"total": "5"}'))
    other = Payload()
    other.message.type_url = "type.googleapis.com/acme.Order"
    broken = Payload()
    broken.message.type_url = good.message.type_url
    broken.message.value = b"\x08"
    for bad in (other, broken, Payload(json='{"sum": 5}'), Payload(binary=Binary(data=b"x"))):
        with pytest.raises(InvalidArgument):
            checks.of(invoice)(bad)


def test_a_protobuf_type_that_shadows_the_meshs_own_is_refused() -> None:
    schema = Schema()
    file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="muster.v1", syntax="proto3")
    file.message_type.add(name="Request")
    files = descriptor_pb2.FileDescriptorSet(file=[file])
    schema.message.full_name = "muster.v1.Request"
    schema.message.file_descriptor_set = files.SerializeToString()
    with pytest.raises(InvalidArgument):
        check_schema(schema, "the input schema")
