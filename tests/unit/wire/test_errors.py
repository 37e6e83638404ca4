import asyncio

import pytest
from grpc.aio import AioRpcError, Metadata

from muster.model.errors import REASONS, Code, InvalidArgument, MusterError, Unavailable, Violation
from muster.wire.errors import (
    DETAILS_TRAILER,
    GRPC_CODES,
    answer_of,
    error_of_status,
    status_of,
)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_survives_the_wire(reason: str):
    error = error_of_status(status_of(MusterError("what is wrong", reason=reason)))
    assert (error.reason, error.message) == (reason, "what is wrong")
    assert (error.code, error.retry_after_seconds) == REASONS[reason]


def test_violations_and_retry_advice_survive_the_wire():
    violations = [Violation("a.b[0]", "is odd"), Violation("", "is missing")]
    sent = InvalidArgument("no", violations=violations, retry_after_seconds=0.25)
    got = error_of_status(status_of(sent))
    assert isinstance(got, InvalidArgument)
    assert got.violations == tuple(violations)
    assert got.retry_after_seconds == 0.25


def test_a_long_error_is_cut_to_fit_the_trailers():
    violations = [Violation("ä" * 1000, "ö" * 1000)] * 1000
    status = status_of(InvalidArgument("ü" * 100_000, violations=violations))
    assert status.ByteSize() < 6_000
    assert status.message.endswith("ü…")


def test_a_reason_of_tomorrow_is_kept_and_its_code_counts():
    status = status_of(Unavailable("later"))
    status.details[0].value = status.details[0].value.replace(b"NOT_READY", b"TOO_NOVEL")
    error = error_of_status(status)
    assert isinstance(error, Unavailable)
    assert (error.reason, error.code) == ("TOO_NOVEL", Code.UNAVAILABLE)


def test_every_code_has_its_grpc_code():
    assert {code.value: code.name for code in GRPC_CODES} == {
        grpc_code.value[0]: grpc_code.name for grpc_code in GRPC_CODES.values()
    }


async def _broken(error: MusterError) -> None:
    trailers = Metadata((DETAILS_TRAILER, status_of(error).SerializeToString()))
    raise AioRpcError(GRPC_CODES[error.code], Metadata(), trailers, error.message)


async def test_what_breaks_a_call_is_raised_as_the_error_it_carries():
    with pytest.raises(Unavailable, match="later") as caught:
        await answer_of(_broken(Unavailable("later")))
    assert caught.value.reason == "NOT_READY"
    assert caught.value.__suppress_context__


async def test_a_call_that_is_answered_gives_its_answer():
    assert await answer_of(asyncio.sleep(0, "yes")) == "yes"
