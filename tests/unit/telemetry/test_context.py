"""Trace context, and ids that follow from contracts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.telemetry.context import (
    SpanRef,
    attempt_span,
    contract_span,
    dispatch_span,
    queue_span,
    sampled,
    traceparent_of,
)

ASKING = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_sampled_header_names_its_span():
    span = sampled(ASKING, "vendor=1")
    assert span == SpanRef(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, "vendor=1")


@pytest.mark.parametrize(
    "header",
    [
        "",
        ASKING[:-2] + "00",  # not sampled
        ASKING[:-2] + "02",  # some other flag
        ASKING.upper(),
        ASKING.replace("00-", "01-", 1),
        ASKING + "-more",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)
def test_everything_else_names_none(header: str):
    assert sampled(header) is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_a_header_is_read_as_it_was_written(trace_id: int, span_id: int):
    span = SpanRef(trace_id, span_id)
    assert sampled(traceparent_of(span)) == span


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("a=1,b@v=2 3", True),
        ("a=1, b=2", True),
        ("", False),
        ("a", False),
        ("a=1,a=2", False),
        ("A=1", False),
        ("a=é", False),
        (",".join(f"k{number}=1" for number in range(33)), False),
    ],
)
def test_a_malformed_tracestate_is_as_good_as_none(header: str, kept: bool):
    span = sampled(ASKING, header)
    assert span is not None
    assert span.state == (header if kept else "")


def test_a_contracts_spans_are_the_same_whoever_derives_them_and_unlike_all_others():
    asking = sampled(ASKING)
    assert asking is not None
    spans: set[int] = set()
    for contract_id in ("0" * 15 + "1", "0" * 15 + "2"):
        contract = contract_span(asking, contract_id)
        assert contract == contract_span(SpanRef(*asking), contract_id)
        for epoch in (1, 2):
            attempt = attempt_span(contract, contract_id, epoch)
            spans |= {
                contract.span_id,
                queue_span(contract, contract_id, epoch).span_id,
                attempt.span_id,
                dispatch_span(attempt, contract_id, epoch).span_id,
            }
            assert attempt.trace_id == asking.trace_id
    assert len(spans) == 2 + 2 * 2 * 3
    # Another mesh may have a contract of the same id in the same trace.
    elsewhere = asking._replace(span_id=7)
    assert contract_span(elsewhere, "0" * 15 + "1").span_id not in spans
