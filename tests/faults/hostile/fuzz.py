"""Random bytes, and messages that are nearly right, for every method that reflection lists.

What is called is found by asking the mesh, as a stranger would: names of services, files of
descriptors, methods with their types. Nothing of our own stubs is used to make a message.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import strategies as st

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
ANSWER_SECONDS = 5.0  # of a unary call; one that takes longer hangs
LISTEN_SECONDS = 0.05  # to a stream that goes on; long enough for it to refuse what came
# These wait as long as they are asked to, which may be an hour.
WAITING = frozenset({"WaitContract"})

# What grpc.aio's own client puts in the place of a status that came before it had written all.
WRITE_FAILED = "Internal error from Core"

# Codes that say that the mesh, and not its caller, has failed.
FORBIDDEN = frozenset(
    {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}
)

# Of our own code, a class, a database or a file; "Error" alone is an English word.
LEAK = re.compile(
    r"Traceback|\b\w*[a-z](?:Error|Exception)\b|\bat 0x[0-9a-f]+|<class|_pb2|\bself\.|"
    r"\b(?:SELECT|INSERT|UPDATE|DELETE|PRAGMA|sqlite\w*|UNIQUE constraint)\b|"
    r"\.py\b|(?:^|[\s'\"(])/(?:\w+/)+\w+"
)


@dataclass(frozen=True)
class Method:
    """One method, as reflection describes it."""

    path: str
    input: Descriptor
    takes_stream: bool
    gives_stream: bool

    @property
    def name(self) -> str:
        """Without its service."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Outcome:
    """How a call ended; `code` is None when nobody knows."""

    code: grpc.StatusCode | None
    message: str = ""

    def wrong(self) -> str:
        """What is wrong with it; empty when it is a proper answer."""
        if self.code in FORBIDDEN:
            return f"{self.code}: {self.message}"
        leak = LEAK.search(self.message)
        return f"{self.message!r} tells {leak.group()!r}" if leak else ""


# --- finding methods ------------------------------------------------------------------------------


async def find_methods(channel: grpc.aio.Channel) -> list[Method]:
    """Every method of every service that reflection names."""
    pool = descriptor_pool.DescriptorPool()
    known: set[str] = set()
    call: Any = channel.stream_stream(
        REFLECTION,
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )(timeout=10)

    async def ask(**what: Any) -> Any:
        await call.write(reflection_pb2.ServerReflectionRequest(**what))
        return await call.read()

    listed = await ask(list_services="")
    services = [each.name for each in listed.list_services_response.service]
    for service in services:
        reply = await ask(file_containing_symbol=service)
        raw = reply.file_descriptor_response.file_descriptor_proto
        files = {
            file.name: file for file in map(descriptor_pb2.FileDescriptorProto.FromString, raw)
        }
        for name in files:
            _add(pool, files, name, known)
    await call.done_writing()
    found = [pool.FindServiceByName(service) for service in services]
    return [_method(each) for service in found for each in service.methods]


def _add(pool: Any, files: dict[str, Any], name: str, known: set[str]) -> None:
    if name in known or name not in files:
        return
    known.add(name)
    for needed in files[name].dependency:
        _add(pool, files, needed, known)
    pool.Add(files[name])


def _method(method: MethodDescriptor) -> Method:
    service = method.containing_service
    return Method(
        f"/{service.full_name}/{method.name}",
        method.input_type,
        method.client_streaming,
        method.server_streaming,
    )


# --- calling --------------------------------------------------------------------------------------


async def call(channel: grpc.aio.Channel, method: Method, raw: Sequence[bytes]) -> Outcome:
    """Sends these bytes, and nothing more; a stream is listened to for a moment."""
    endless = method.gives_stream or method.name in WAITING
    started = _start(channel, method, raw)
    try:
        async with asyncio.timeout(LISTEN_SECONDS if endless else ANSWER_SECONDS):
            if method.takes_stream:
                await _write(started, raw)
            if method.gives_stream:
                while await started.read() is not grpc.aio.EOF:
                    pass
            code = await started.code()
            return Outcome(code, await started.details() or "")
    except TimeoutError:
        started.cancel()
        if not endless:
            raise AssertionError(f"{method.path} hangs with {list(raw)!r}") from None
        return Outcome(None)
    except grpc.aio.AioRpcError as error:
        if error.details() == WRITE_FAILED:
            return Outcome(None)
        return Outcome(error.code(), error.details() or "")


def _start(channel: grpc.aio.Channel, method: Method, raw: Sequence[bytes]) -> Any:
    kind = ("stream" if method.takes_stream else "unary") + (
        "_stream" if method.gives_stream else "_unary"
    )
    multi: Any = getattr(channel, kind)(method.path)
    return multi() if method.takes_stream else multi(raw[0] if raw else b"")


async def _write(stream: Any, raw: Sequence[bytes]) -> None:
    # A stream that was refused already takes nothing more; its code tells why.
    with suppress(grpc.aio.BaseError, asyncio.InvalidStateError):
        for each in raw:
            await stream.write(each)
        await stream.done_writing()


# --- making messages ------------------------------------------------------------------------------

# What a careful client would say …
_TAME_WORDS = ["a", "fuzz", "honest.work", "1.0.0", "2", "{}", '{"number": 1}', "text/plain", ""]
_TAME_INTEGERS = [0, 1, 2, 60]
_TAME_DOUBLES = [0.0, 0.5, 1.0]
# … and what somebody may have forgotten.
_WILD_WORDS = ["", "a" * 10_240, "../../etc/passwd", "a\0b", "a\r\nb: c", "* > .", "%s%n", "f" * 16]
_WILD_WORDS += ["0" * 16, "999999999999.0.0", "1.0", "[1e400]", "NaN", "[" * 10_000, "\ufeff{}"]
_WILD_WORDS += ['"\\ud800"', "ümläut 🦆", "'; DROP TABLE contracts; --"]
_WILD_INTEGERS = [-1, 255, 1000, 10**9, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63)]
_WILD_INTEGERS += [2**63, 2**64 - 1, -62_135_596_801, 253_402_300_800]
_WILD_DOUBLES = [-0.0, -1.0, 1e308, math.inf, -math.inf, math.nan, 5e-324]
_WILDNESS = (0.0, 0.02, 0.1, 0.5)  # how often a value is wild; one of them for a whole message
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}
_DEPTH_MAX = 5


class Maker:
    """Makes messages of any type; `words` are names that the mesh knows, such as contract ids."""

    def __init__(self, rng: random.Random, words: Sequence[str]) -> None:
        self._rng = rng
        self._words = (*_TAME_WORDS, *words, *words, *words)
        self._wildness = rng.choice(_WILDNESS)
        self._fullness = rng.choice((0.2, 0.6, 0.9))

    def message(self, kind: Descriptor, depth: int = 0) -> Any:
        """A message, some of whose fields are set."""
        made = message_factory.GetMessageClass(kind)()
        for field in kind.fields:
            if self._rng.random() < self._fullness / (1 + depth // 2):
                self._set(made, field, depth)
        return made

    def _set(self, made: Any, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is not None and depth >= _DEPTH_MAX:
            return
        if not field.is_repeated:
            value = self._value(field, depth)
            if field.message_type is not None:
                getattr(made, field.name).CopyFrom(value)
            else:
                setattr(made, field.name, value)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            for _ in range(self._rng.choice((1, 1, 2, 70))):
                if value.message_type is None:
                    getattr(made, field.name)[self._value(key, depth)] = self._value(value, depth)
        else:
            for _ in range(self._rng.choice((1, 1, 2, 3))):
                getattr(made, field.name).append(self._value(field, depth))

    def _value(self, field: FieldDescriptor, depth: int) -> Any:
        rng, kind = self._rng, field.cpp_type
        wild = rng.random() < self._wildness
        if kind == FieldDescriptor.CPPTYPE_MESSAGE:
            assert field.message_type is not None
            return self.message(field.message_type, depth + 1)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return rng.choice(_WILD_DOUBLES if wild else _TAME_DOUBLES)
        if kind == FieldDescriptor.CPPTYPE_STRING:
            word = rng.choice(_WILD_WORDS if wild else self._words)
            return word.encode() if field.type == FieldDescriptor.TYPE_BYTES else word
        if field.enum_type is not None and not wild:
            return rng.choice(field.enum_type.values).number
        low, high = _RANGES[kind]
        integers = _WILD_INTEGERS if wild else _TAME_INTEGERS
        return rng.choice([value for value in integers if low <= value <= high])


def nested(field_number: int, levels: int) -> bytes:
    """A message in a message in a message…, each in this field of the one around it."""
    raw = b""
    for _ in range(levels):
        size, prefix = len(raw), bytearray(_varint(field_number << 3 | 2))
        raw = bytes(prefix + _varint(size) + raw)
    return raw


def groups(field_number: int, levels: int) -> bytes:
    """The same with groups, which need not be closed to be read into."""
    return _varint(field_number << 3 | 3) * levels


def _varint(number: int) -> bytes:
    raw = bytearray()
    while number > 0x7F:
        raw.append(number & 0x7F | 0x80)
        number >>= 7
    raw.append(number)
    return bytes(raw)


def mangled(raw: bytes, rng: random.Random) -> bytes:
    """The message with something done to it."""
    match rng.randrange(6):
        case 0:
            return raw[: rng.randrange(len(raw) + 1)]
        case 1:
            at = rng.randrange(len(raw) + 1)
            return raw[:at] + rng.randbytes(rng.randrange(1, 9)) + raw[at:]
        case 2 if raw:
            changed = bytearray(raw)
            changed[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            return bytes(changed)
        case 3:
            return raw + raw
        case 4:
            return raw.replace(b"a", b"\xff", 3)
    return raw


def one_message(method: Method, rng: random.Random, words: Sequence[str]) -> bytes:
    """Something for a method to read."""
    match rng.randrange(10):
        case 0:
            return rng.randbytes(rng.randrange(200))
        case 1:
            return nested(rng.choice([field.number for field in method.input.fields] or [1]), 150)
        case 2:
            return groups(rng.randrange(1, 20), 200)
        case 3 | 4:
            return mangled(Maker(rng, words).message(method.input).SerializeToString(), rng)
    return bytes(Maker(rng, words).message(method.input).SerializeToString())


def cases(
    methods: Sequence[Method], words: Sequence[str]
) -> st.SearchStrategy[tuple[Method, list[bytes]]]:
    """A method, and the messages that it is called with."""

    @st.composite
    def case(draw: st.DrawFn) -> tuple[Method, list[bytes]]:
        method = draw(st.sampled_from(methods))
        if draw(st.integers(0, 3)) == 0:
            return method, [draw(st.binary(max_size=300))]
        rng = random.Random(draw(st.integers(0, 2**32)))
        most = 3 if method.takes_stream else 1
        return method, [one_message(method, rng, words) for _ in range(rng.randint(1, most))]

    return case()
