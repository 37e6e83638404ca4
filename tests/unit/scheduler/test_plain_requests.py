"""The short check never lets through what the full one refuses."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from muster.runtime.validation import violations_of
from muster.scheduler.messages_in import contract_of_plain
from muster.scheduler.plain_requests import is_plain
from muster.v1.request_pb2 import PRIORITY_NORMAL, Request

IDS = st.one_of(st.from_regex(r"[A-Za-z0-9_.:=@+/-]{0,130}", fullmatch=True), st.text())
NANOS = st.integers(-(2**31), 2**31 - 1)


TRACES = st.one_of(
    st.from_regex(r"00-[0-9a-f]{31,33}-[0-9a-f]{16}-[0-9a-f]{2}\n?", fullmatch=True), st.text()
)
TRACEPARENT = f"00-{1:032x}-{2:016x}-01"


@given(
    request_id=IDS,
    conversation=IDS,
    seconds=st.integers(-(2**63), 2**63 - 1),
    nanos=NANOS,
    traceparent=TRACES,
    tracestate=st.text(max_size=600),
)
@example("a" * 128, "", 1, 0, "", "")
@example("a\n", "", 1, 999_999_999, "", "")
@example("a", "", 1, 0, TRACEPARENT, "x" * 512)
@example("a", "", 1, 0, TRACEPARENT + "\n", "")
@example("a", "", 1, 0, TRACEPARENT, "x" * 513)
def test_what_is_plain_is_valid(
    request_id: str,
    conversation: str,
    seconds: int,
    nanos: int,
    traceparent: str,
    tracestate: str,
) -> None:
    request = Request(request_id=request_id, conversation_id=conversation)
    request.capability.name = "text.echo"
    request.payload.json = "{}"
    request.deadline.seconds, request.deadline.nanos = seconds, nanos
    if traceparent:
        request.trace_context.traceparent = traceparent
        request.trace_context.tracestate = tracestate
    assert not is_plain(request) or not violations_of(request)


def test_the_usual_request_is_plain() -> None:
    request = Request(request_id="0653b1b7a7c20000-17")
    request.capability.name = "text.echo"
    request.payload.json = '{"text": "hello"}'
    assert is_plain(request)
    request.deadline.seconds = 1_800_000_000
    assert is_plain(request)
    request.trace_context.traceparent = TRACEPARENT
    assert is_plain(request)


def test_trace_context_is_no_part_of_the_body_of_a_plain_request() -> None:
    digests = set()
    for traceparent in ("", TRACEPARENT, TRACEPARENT.replace("2", "3")):
        request = Request(request_id="r")
        request.capability.name = "text.echo"
        if traceparent:
            request.trace_context.traceparent = traceparent
        assert is_plain(request)
        contract = contract_of_plain(request, "default", "local", "1", 1_800_000_000_000)
        digests.add(contract.body_sha256)
        assert Request.FromString(contract.body_bytes) == request
    assert len(digests) == 1


def test_a_request_with_anything_else_is_checked_in_full() -> None:
    request = Request(request_id="r")
    request.capability.name = "text.echo"
    for change in ("priority", "parent", "timeouts", "labels", "callbacks", "large"):
        other = Request()
        other.CopyFrom(request)
        match change:
            case "priority":
                other.priority = PRIORITY_NORMAL
            case "parent":
                other.parent.contract_id = "x"
            case "timeouts":
                other.timeouts.heartbeat.seconds = -1
            case "labels":
                other.labels["a"] = "b"
            case "callbacks":
                other.callbacks.add()
            case "large":
                other.payload.json = "x" * 20_000
        assert not is_plain(other), change
