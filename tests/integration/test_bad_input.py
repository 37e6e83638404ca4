"""What is wrong in a request is said by the same code by every method that can be told it.

The methods and their fields are taken from the descriptors, so that a new one is tested as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from muster.agent import Agent
from muster.model.errors import Code, MusterError
from muster.runtime.principal import TENANT_KEY
from muster.v1 import (
    blob_service_pb2,
    executor_service_pb2,
    registry_service_pb2,
    schedule_service_pb2,
    scheduler_service_pb2,
)
from muster.v1.capability_pb2 import CapabilitySelector
from muster.v1.request_pb2 import Request
from muster.v1.scheduler_service_pb2 import GetContractRequest, SubmitRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from tests.support.meshes import Mesh

UNKNOWN = "0" * 16
BAD_IDS = ["", "a" * 10_240, "../x", "a\0b", "a\r\nb", "* > .", UNKNOWN.replace("0", "A"), "f" * 15]

FILES = (
    blob_service_pb2,
    executor_service_pb2,
    registry_service_pb2,
    schedule_service_pb2,
    scheduler_service_pb2,
)
METHODS: list[MethodDescriptor] = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.client_streaming
]


class Place(NamedTuple):
    """A field of a method's request, perhaps of a message in it."""

    method: MethodDescriptor
    path: tuple[FieldDescriptor, ...]

    def __str__(self) -> str:
        return f"{self.method.name}.{'.'.join(field.name for field in self.path)}"

    def request(self, value: Any) -> Any:
        """A request that sets just this field."""
        made = message_factory.GetMessageClass(self.method.input_type)()
        within = made
        for field in self.path[:-1]:
            within = getattr(within, field.name)
            within.SetInParent()
        last = self.path[-1]
        if last.message_type is not None:
            getattr(within, last.name).CopyFrom(value)
        else:
            setattr(within, last.name, value)
        return made


def places(kind: Descriptor, depth: int = 0) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Every field that is there once, by way of fields that are there once."""
    for field in kind.fields:
        if field.is_repeated:
            continue
        yield (field,)
        if field.message_type is not None and depth < 4:
            yield from ((field, *rest) for rest in places(field.message_type, depth + 1))


PLACES = [Place(method, path) for method in METHODS for path in places(method.input_type)]
CONTRACT_IDS = [each for each in PLACES if each.path[-1].name == "contract_id"]
PAGE_SIZES = [each for each in PLACES if each.path[-1].name == "page_size"]
PAGE_TOKENS = [each for each in PLACES if each.path[-1].name == "page_token"]
DOUBLES = [
    each
    for each in PLACES
    if each.path[-1].cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
]


def of_type(name: str) -> list[Place]:
    """Places of messages of this type."""
    full = f"google.protobuf.{name}"
    types = ((each, each.path[-1].message_type) for each in PLACES)
    return [each for each, kind in types if kind is not None and kind.full_name == full]


class Caller:
    """Calls any method of a mesh."""

    def __init__(self, channels: dict[str, grpc.aio.Channel]) -> None:
        self._channels = channels

    async def refusal(self, place: Place, value: Any) -> MusterError | None:
        """How a request with this value is refused; None when it is not."""
        method = place.method
        service = method.containing_service
        owner = service.name.removesuffix("Service").lower()
        channel = self._channels.get(owner, self._channels["scheduler"])
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        call: Any = kind(f"/{service.full_name}/{method.name}")
        raw = place.request(value).SerializeToString()
        try:
            if method.server_streaming:
                stream = call(raw, timeout=10)
                await stream.read()
                stream.cancel()
            else:
                await call(raw, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error_of_rpc(error)
        return None


@pytest.fixture
async def caller(mesh: Mesh) -> AsyncIterator[Caller]:
    async with (
        open_channel(mesh.scheduler) as scheduler,
        open_channel(mesh.executor) as executor,
        open_channel(mesh.registry) as registry,
    ):
        yield Caller({"scheduler": scheduler, "executor": executor, "registry": registry})


def test_the_walk_finds_what_it_is_to_find() -> None:
    assert {each.method.name for each in CONTRACT_IDS} >= {
        "GetContract",
        "WatchContracts",
        "WaitContract",
        "CancelContract",
        "ExplainPlacement",
        "Submit",
    }
    assert {each.method.name for each in PAGE_SIZES} == {each.method.name for each in PAGE_TOKENS}
    assert len(PAGE_SIZES) == 6
    assert "Submit.request.deadline" in map(str, of_type("Timestamp"))
    assert "WaitContract.timeout" in map(str, of_type("Duration"))
    assert DOUBLES


async def test_bad_ids_are_invalid_and_named(caller: Caller) -> None:
    for place in CONTRACT_IDS:
        for bad in BAD_IDS:
            error = await caller.refusal(place, bad)
            assert error is not None, (str(place), bad)
            assert error.code is Code.INVALID_ARGUMENT, (str(place), bad, error)
            assert error.violations, (str(place), bad)
            assert len(error.message) < 1_000


async def test_names_of_any_kind_are_never_more_than_unknown(caller: Caller) -> None:
    strings = [each for each in PLACES if each.path[-1].cpp_type == FieldDescriptor.CPPTYPE_STRING]
    assert len(strings) > 30
    for place in strings:
        for bad in BAD_IDS[1:]:
            if place.path[-1].type == FieldDescriptor.TYPE_BYTES:
                continue
            error = await caller.refusal(place, bad)
            where = (str(place), bad[:20], error)
            assert error is None or error.code in (Code.INVALID_ARGUMENT, Code.NOT_FOUND), where
            assert len(bad) < 10_000 or error is not None, where


async def test_pages_out_of_range_and_forged_tokens_are_invalid(caller: Caller) -> None:
    for place in PAGE_SIZES:
        for size in (-1, 10**9, -(2**31)):
            error = await caller.refusal(place, size)
            assert error is not None
            assert error.code is Code.INVALID_ARGUMENT, (str(place), size, error)
            assert "page_size" in [each.field for each in error.violations], (str(place), error)
    for place in PAGE_TOKENS:
        for token in ("x", "AAAA", "/", "a" * 255, "a" * 10_000, "\0"):
            error = await caller.refusal(place, token)
            assert error is not None, (str(place), token)
            assert error.code is Code.INVALID_ARGUMENT, (str(place), token, error)


async def test_times_that_are_none_are_invalid_and_named(caller: Caller) -> None:
    for name, wrong in (
        ("Timestamp", [(-62_135_596_801, 0), (253_402_300_800, 0), (0, -1), (0, 10**9)]),
        ("Duration", [(-1, 0), (0, -1), (2**62, 0), (1, -1), (0, 10**9)]),
    ):
        for place in of_type(name):
            described = place.path[-1].message_type
            assert described is not None
            kind: Any = message_factory.GetMessageClass(described)
            for seconds, nanos in wrong:
                error = await caller.refusal(place, kind(seconds=seconds, nanos=nanos))
                where = (str(place), seconds, nanos, error)
                assert error is not None, where
                assert error.code is Code.INVALID_ARGUMENT, where
                last = place.path[-1].name
                assert any(each.field.endswith(last) for each in error.violations), where


async def test_numbers_that_are_none_are_invalid(caller: Caller) -> None:
    for place in DOUBLES:
        for wrong in (float("nan"), float("inf"), -1.0):
            error = await caller.refusal(place, wrong)
            assert error is not None
            last = place.path[-1].name
            assert error.code is Code.INVALID_ARGUMENT
            assert any(each.field.endswith(last) for each in error.violations), str(place)


async def test_another_tenants_contract_is_as_unknown_as_one_that_never_was(
    mesh: Mesh, caller: Caller
) -> None:
    agent = Agent("agent", kind="test")

    @agent.capability("bad.never")
    async def never() -> None:
        raise AssertionError

    async with mesh.host(agent, tenant="theirs"):
        pass
    async with open_channel(mesh.scheduler) as channel:
        wanted = Request(request_id="mine", capability=CapabilitySelector(name="bad.never"))
        reply = await SchedulerServiceStub(channel).Submit(
            SubmitRequest(request=wanted), metadata=((TENANT_KEY, "theirs"),)
        )
    theirs = reply.accepted.contract_id
    named = [place for place in CONTRACT_IDS if len(place.path) == 1]
    assert len(named) == 5
    for place in named:
        other = await caller.refusal(place, theirs)
        unknown = await caller.refusal(place, UNKNOWN)
        assert other is not None
        assert unknown is not None
        assert other.code is unknown.code is Code.NOT_FOUND, str(place)
        assert other.reason == unknown.reason
        assert other.message.replace(theirs, UNKNOWN) == unknown.message


async def test_a_deadline_that_has_passed_is_said_and_nothing_is_kept(
    mesh: Mesh,
) -> None:
    agent = Agent("agent", kind="test")

    @agent.capability("bad.never")
    async def never() -> None:
        raise AssertionError

    async with mesh.host(agent), open_channel(mesh.scheduler) as channel:
        stub = SchedulerServiceStub(channel)
        late = Request(request_id="late", capability=CapabilitySelector(name="bad.never"))
        late.deadline.FromSeconds(1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Submit(SubmitRequest(request=late))
        assert error_of_rpc(caught.value).code is Code.DEADLINE_EXCEEDED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetContract(GetContractRequest(request_id="late"))
        assert error_of_rpc(caught.value).code is Code.NOT_FOUND
