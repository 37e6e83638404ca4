"""The SDK's spans, on a tracer of their own."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from muster.agent.context import Facts
from muster.agent.failures import Failed
from muster.agent.performing import failed_of
from muster.agent.spans import Spans
from muster.model.errors import MusterError, ResourceExhausted
from muster.telemetry.context import SpanRef, sampled, traceparent_of
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import ContractState, Response

ASKING = SpanRef(5, 6)


class Kept:
    """Spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")
        self.spans = Spans(self.tracer)

    @property
    def one(self) -> ReadableSpan:
        (span,) = self._exporter.get_finished_spans()
        return span


@pytest.fixture
def kept() -> Kept:
    return Kept()


def request(traceparent: str = "") -> Request:
    made = Request(request_id="r1")
    made.capability.name = "demo.echo"
    if traceparent:
        made.trace_context.traceparent = traceparent
    return made


def named_by(asked: Request) -> SpanRef:
    span = sampled(asked.trace_context.traceparent, asked.trace_context.tracestate)
    assert span is not None
    return span


def test_a_request_names_the_span_that_asks_for_it(kept: Kept):
    asked = request()
    span = kept.spans.ask(asked)
    assert span is not None
    context = span.get_span_context()
    assert named_by(asked) == SpanRef(context.trace_id, context.span_id)


def test_it_belongs_to_the_span_that_is_under_way(kept: Kept):
    with kept.tracer.start_as_current_span("outer") as outer:
        asked = request()
        assert kept.spans.ask(asked) is not None
    assert named_by(asked).trace_id == outer.get_span_context().trace_id


def test_a_trace_that_the_caller_names_goes_on(kept: Kept):
    asked = request(traceparent_of(ASKING))
    span = kept.spans.ask(asked)
    assert span is not None
    span.end()
    assert named_by(asked).trace_id == ASKING.trace_id
    assert kept.one.parent is not None
    assert kept.one.parent.span_id == ASKING.span_id


def test_what_the_caller_does_not_sample_is_left_as_it_is(kept: Kept):
    header = traceparent_of(ASKING)[:-2] + "00"
    asked = request(header)
    assert kept.spans.ask(asked) is None
    assert asked.trace_context.traceparent == header


async def answered(kept: Kept, answer: Response | Exception | None) -> ReadableSpan:
    """The span of a request that was answered so; None: nobody waits any more."""
    span = kept.spans.ask(request())
    assert span is not None
    future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    kept.spans.follow(span, future)
    if answer is None:
        future.cancel()
    elif isinstance(answer, Exception):
        future.set_exception(answer)
        future.exception()
    else:
        future.set_result(answer)
    await asyncio.sleep(0)
    return kept.one


def code_of(span: ReadableSpan) -> tuple[bool, object]:
    """Whether it is an error, and its code."""
    assert span.attributes is not None
    failed = span.status.status_code is trace.StatusCode.ERROR
    return failed, span.attributes.get("muster.code")


async def test_it_ends_with_the_response(kept: Kept):
    response = Response(contract_id="c1", state=ContractState.CONTRACT_STATE_SUCCEEDED)
    span = await answered(kept, response)
    assert code_of(span) == (False, None)
    assert span.attributes is not None
    assert span.attributes["muster.contract_id"] == "c1"
    assert span.attributes["muster.state"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("state", "is_error"),
    [("FAILED", True), ("EXPIRED", True), ("DEAD_LETTERED", True), ("CANCELLED", False)],
)
async def test_a_failure_is_told_by_its_code_alone(kept: Kept, state: str, is_error: bool):
    response = Response(state=ContractState.Value(f"CONTRACT_STATE_{state}"))
    response.failure.code, response.failure.message = "WHY", "with a secret"
    span = await answered(kept, response)
    assert code_of(span) == (is_error, "WHY")
    assert "secret" not in span.to_json()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ResourceExhausted("a secret"), (True, "QUEUE_FULL")),
        (MusterError("closed", reason="NOT_READY"), (False, "NOT_READY")),
        (OSError("a secret"), (True, "OSError")),
    ],
)
async def test_a_refusal_ends_it(kept: Kept, error: Exception, expected: tuple[bool, str]):
    span = await answered(kept, error)
    assert code_of(span) == expected
    assert "secret" not in span.to_json()


async def test_it_ends_when_nobody_waits_any_more(kept: Kept):
    assert code_of(await answered(kept, None)) == (False, None)


def facts(traceparent: str) -> Facts:
    return Facts("c1", 7, attempt=2, capability="demo.echo", agent="a", traceparent=traceparent)


def test_a_run_is_under_way_while_the_code_runs(kept: Kept):
    with kept.spans.run(facts(traceparent_of(ASKING)), failed_of):
        assert trace.get_current_span().is_recording()
        asked = request()
        assert kept.spans.ask(asked) is not None
    assert not trace.get_current_span().is_recording()
    run = kept.one
    assert run.name == "run demo.echo"
    assert run.parent is not None
    assert (run.parent.trace_id, run.parent.span_id) == (ASKING.trace_id, ASKING.span_id)
    assert run.attributes is not None
    assert (run.attributes["muster.attempt"], run.attributes["muster.epoch"]) == (2, 7)
    assert named_by(asked).trace_id == ASKING.trace_id


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Failed("BROKEN", "a secret"), (True, "BROKEN")),
        (LookupError("a secret"), (True, "AGENT_ERROR")),
        (asyncio.CancelledError(), (False, "CANCELLED")),
    ],
)
def test_a_run_that_fails_says_with_which_code(
    kept: Kept, error: BaseException, expected: tuple[bool, str]
):
    with (
        pytest.raises(type(error)),
        kept.spans.run(facts(traceparent_of(ASKING)), failed_of),
    ):
        raise error
    assert code_of(kept.one) == expected
    assert "secret" not in kept.one.to_json()


def test_a_run_that_is_not_traced_has_no_span(kept: Kept):
    for header in ("", traceparent_of(ASKING)[:-2] + "00"):
        with kept.spans.run(facts(header), failed_of):
            assert not trace.get_current_span().is_recording()
