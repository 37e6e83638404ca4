import pytest

from muster.model.errors import REASONS, Code, InvalidArgument, MusterError, Unavailable, Violation
from muster.wire.errors import GRPC_CODES, error_of_status, status_of


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
