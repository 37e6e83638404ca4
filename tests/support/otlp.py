"""A receiver of traces for tests: OTLP over gRPC, as a collector speaks it, and what it got.

Needs the `telemetry` extra, which `make setup` installs.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.processes import free_port, until

# How far the mesh's spans, whose times are whole milliseconds, may stick out of their parents.
ROUNDED_NS = 2_000_000


@dataclass(frozen=True)
class Seen:
    """A span as it was received."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str  # "" for a root
    kind: str
    start_ns: int
    end_ns: int
    error: str  # the status's words, where it is one
    service: str
    scope: str
    attributes: dict[str, Any] = field(hash=False)
    resource: dict[str, Any] = field(hash=False)

    @property
    def contract_id(self) -> str:
        """Which contract it is about."""
        return str(self.attributes.get("muster.contract_id", ""))


class Receiver(TraceServiceServicer):
    """Takes every span that comes."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spans: list[Seen] = []

    def environment(self, **others: str) -> dict[str, str]:
        """What a process is told that is to send its spans here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.address}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            **others,
        }

    async def Export(
        self, request: ExportTraceServiceRequest, context: Any
    ) -> ExportTraceServiceResponse:
        """See the protocol."""
        self.spans += _seen(request)
        return ExportTraceServiceResponse()

    def named(self, *words: str) -> list[Seen]:
        """The spans whose name begins with one of the words."""
        return [span for span in self.spans if span.name.split()[0] in words]

    async def has(self, seconds: float = 15.0, **counts: int) -> None:
        """Returns when so many spans have come whose name begins with each word."""

        def all_there() -> bool:
            found = Counter(span.name.split()[0] for span in self.spans)
            return all(found[word] >= count for word, count in counts.items())

        try:
            await until(all_there, seconds, f"spans came: {counts}")
        except AssertionError as error:
            raise AssertionError(f"{error}, but:\n{drawn(self.spans)}") from None


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a port of its own, while the block runs."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    made = Receiver(f"127.0.0.1:{free_port()}")
    add_TraceServiceServicer_to_server(made, server)  # type: ignore[no-untyped-call]
    assert server.add_insecure_port(made.address)
    await server.start()
    try:
        yield made
    finally:
        await server.stop(None)


@asynccontextmanager
async def http_receiver() -> AsyncIterator[Receiver]:
    """The same for OTLP over HTTP, in protobuf."""
    made = Receiver(f"127.0.0.1:{free_port()}")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(re.search(r"content-length: (\d+)", head)[1])  # type: ignore[index]
                body = await reader.readexactly(length)
                assert head.startswith("post /v1/traces "), head
                made.spans += _seen(ExportTraceServiceRequest.FromString(body))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        writer.close()

    host, _, port = made.address.partition(":")
    async with await asyncio.start_server(serve, host, int(port)):
        yield made


def one_tree(spans: Sequence[Seen]) -> dict[str, list[Seen]]:
    """Asserts that they are one trace and one tree, every parent there and no id twice, and that
    each lies within its parent. Returns the children of each span, by its id."""
    assert len({span.trace_id for span in spans}) == 1, drawn(spans)
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), f"a span came twice:\n{drawn(spans)}"
    roots = [span for span in spans if not span.parent_id]
    assert len(roots) == 1, f"{len(roots)} roots:\n{drawn(spans)}"
    children: dict[str, list[Seen]] = {}
    for span in spans:
        assert span.start_ns <= span.end_ns, span
        if not span.parent_id:
            continue
        parent = by_id.get(span.parent_id)
        assert parent is not None, f"the parent of {span.name} is missing:\n{drawn(spans)}"
        assert span.start_ns >= parent.start_ns - ROUNDED_NS, (span, parent)
        assert span.end_ns <= parent.end_ns + ROUNDED_NS, (span, parent)
        children.setdefault(parent.span_id, []).append(span)
    return children


def shape(spans: Sequence[Seen]) -> list[str]:
    """The tree, a line for each span: its name, indented by its depth, in order of time."""
    return [f"{'  ' * depth}{span.name}" for depth, span in _walk(spans)]


def drawn(spans: Sequence[Seen]) -> str:
    """The same for people, with whatever has no parent at the left."""
    lines = []
    for depth, span in _walk(spans):
        took = (span.end_ns - span.start_ns) / 1e6
        known = f"{span.service} {span.span_id} in {span.parent_id or '-'}"
        lines.append(f"{'  ' * depth}{span.name} {took:.1f} ms {known}")
    return "\n".join(lines)


def _walk(spans: Sequence[Seen]) -> Iterable[tuple[int, Seen]]:
    ids = {span.span_id for span in spans}

    def below(parents: list[Seen], depth: int) -> Iterable[tuple[int, Seen]]:
        for span in sorted(parents, key=lambda each: (each.start_ns, each.name)):
            yield depth, span
            yield from below([x for x in spans if x.parent_id == span.span_id], depth + 1)

    yield from below([span for span in spans if span.parent_id not in ids], 0)


def _seen(request: ExportTraceServiceRequest) -> list[Seen]:
    return [
        _seen_span(span, of_scope.scope.name, _values(of_resource.resource.attributes))
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _seen_span(span: trace_pb2.Span, scope: str, resource: dict[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        error=_error(span),
        service=str(resource.get("service.name", "")),
        scope=scope,
        attributes=_values(span.attributes),
        resource=resource,
    )


def _error(span: trace_pb2.Span) -> str:
    failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    return span.status.message or "error" if failed else ""


def _values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
