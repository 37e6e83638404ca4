"""Errors on the wire: `google.rpc.Status` with ErrorInfo, RetryInfo and BadRequest, both ways.

gRPC itself carries a code and a message; the Status with its details travels beside them in the
trailer `grpc-status-details-bin`, as every gRPC library that knows rich errors expects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from muster.model import errors, limits
from muster.model.errors import Code, MusterError, Violation
from muster.wire.times import duration_of_seconds, seconds_of_duration

DOMAIN = "muster"
DETAILS_TRAILER = "grpc-status-details-bin"

# With these a call broke off, and the same call may go through a little later. CANCELLED is what
# gRPC gives a call that reaches a server while it stops; who cancels a call of their own gets no
# error, but asyncio.CancelledError.
PASSING = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED})

GRPC_CODES: dict[Code, grpc.StatusCode] = {code: grpc.StatusCode[code.name] for code in Code}

_R = TypeVar("_R")

# What a caller would do differently, by code. The rest is a plain MusterError.
_CLASSES: dict[Code, type[MusterError]] = {
    Code.INVALID_ARGUMENT: errors.InvalidArgument,
    Code.NOT_FOUND: errors.NotFound,
    Code.ALREADY_EXISTS: errors.AlreadyExists,
    Code.FAILED_PRECONDITION: errors.FailedPrecondition,
    Code.ABORTED: errors.Fenced,
    Code.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    Code.UNIMPLEMENTED: errors.Unimplemented,
    Code.UNAVAILABLE: errors.Unavailable,
    Code.UNAUTHENTICATED: errors.NotAuthenticated,
    Code.PERMISSION_DENIED: errors.NotAllowed,
}


def status_of(error: MusterError) -> status_pb2.Status:
    """The error as a Status; messages and violations are cut so that they fit the trailers."""
    status = status_pb2.Status(
        code=error.code, message=_cut(error.message, limits.ERROR_MESSAGE_BYTES_MAX)
    )
    if error.reason:
        info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
        status.details.add().Pack(info)
    if error.retry_after_seconds is not None:
        delay = duration_of_seconds(error.retry_after_seconds)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.violations:
        status.details.add().Pack(_bad_request(error.violations))
    return status


def error_of_status(status: status_pb2.Status) -> MusterError:
    """The error that a Status describes.

    Its class follows the code. Its reason is "" when the Status names none of domain "muster", and
    may be one that this version does not know.
    """
    reason, retry, violations = "", None, []
    for detail in status.details:
        match detail.TypeName():
            case "google.rpc.ErrorInfo":
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                reason = info.reason if info.domain == DOMAIN else reason
            case "google.rpc.RetryInfo":
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                retry = seconds_of_duration(delay)
            case "google.rpc.BadRequest":
                request = error_details_pb2.BadRequest.FromString(detail.value)
                violations += [Violation(v.field, v.description) for v in request.field_violations]
    return _make_error(_code_of(status.code), status.message, reason, retry, violations)


def error_of_rpc(error: grpc.RpcError) -> MusterError:
    """The error behind a failed call, synchronous or asyncio.

    Without details (the mesh never saw the call, or somebody between answered) `code` is gRPC's
    own, `reason` is "", and `retry_after_seconds` is set where the code says that it may pass.
    """
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return MusterError(str(error))
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_TRAILER and isinstance(value, bytes):
            with suppress(DecodeError):
                return error_of_status(status_pb2.Status.FromString(value))
    code = _code_of(error.code().value[0])
    message = error.details() or code.name
    retry = errors.Unavailable("").retry_after_seconds if code is Code.UNAVAILABLE else None
    return _make_error(code, message, "", retry, ())


async def answer_of(call: Awaitable[_R]) -> _R:
    """What an asyncio call is answered. Its errors are raised as `MusterError`s, without gRPC's own
    behind them, which would tell the same in more lines."""
    try:
        return await call
    except grpc.RpcError as error:
        raise error_of_rpc(error) from None


def _make_error(
    code: Code,
    message: str,
    reason: str,
    retry_after_seconds: float | None,
    violations: Iterable[Violation],
) -> MusterError:
    made = _CLASSES.get(code, MusterError)(message, violations=tuple(violations))
    # What the peer said stands, also where our own table says something else.
    made.code, made.reason, made.retry_after_seconds = code, reason, retry_after_seconds
    return made


def _code_of(number: int) -> Code:
    """UNKNOWN and what gRPC may yet invent count as INTERNAL."""
    try:
        return Code(number)
    except ValueError:
        return Code.INTERNAL


def _bad_request(violations: Iterable[Violation]) -> error_details_pb2.BadRequest:
    request = error_details_pb2.BadRequest()
    for violation in tuple(violations)[: limits.ERROR_VIOLATIONS_MAX]:
        request.field_violations.add(
            field=_cut(violation.field, limits.ERROR_FIELD_BYTES_MAX),
            description=_cut(violation.description, limits.ERROR_FIELD_BYTES_MAX),
        )
    return request


def _cut(text: str, bytes_max: int) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return text
    return encoded[: bytes_max - len("…".encode())].decode(errors="ignore") + "…"
