"""The one error base, and the one table of reasons.

A reason is what programs read (`google.rpc.ErrorInfo.reason`), the code is what gRPC knows, the
message is for people: it names what was wrong and what to do next, and never holds a class name, a
path or SQL. `muster.v1.ErrorReason` documents each reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Code(IntEnum):
    """gRPC's status codes, as `google.rpc.Code` numbers them."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# reason -> (code, seconds after which trying again makes sense; None where it never does)
REASONS: dict[str, tuple[Code, float | None]] = {
    "INVALID_FIELD": (Code.INVALID_ARGUMENT, None),
    "MALFORMED_MESSAGE": (Code.INVALID_ARGUMENT, None),
    "PAYLOAD_MISMATCH": (Code.INVALID_ARGUMENT, None),
    "PAGE_TOKEN": (Code.INVALID_ARGUMENT, None),
    "SCHEMA": (Code.INVALID_ARGUMENT, None),
    "CAPABILITY_UNKNOWN": (Code.NOT_FOUND, None),
    "CONTRACT_UNKNOWN": (Code.NOT_FOUND, None),
    "AGENT_UNKNOWN": (Code.NOT_FOUND, None),
    "HOST_UNKNOWN": (Code.NOT_FOUND, None),
    "REGISTRATION_UNKNOWN": (Code.NOT_FOUND, None),
    "BLOB_UNKNOWN": (Code.NOT_FOUND, None),
    "SCHEDULE_UNKNOWN": (Code.NOT_FOUND, None),
    "REQUEST_ID_REUSED": (Code.ALREADY_EXISTS, None),
    "CAPABILITY_CONFLICT": (Code.ALREADY_EXISTS, None),
    "SCHEDULE_EXISTS": (Code.ALREADY_EXISTS, None),
    "CONTRACT_ENDED": (Code.FAILED_PRECONDITION, None),
    "SESSION_PROTOCOL": (Code.FAILED_PRECONDITION, None),
    "CAPABILITY_INCOMPATIBLE": (Code.FAILED_PRECONDITION, None),
    "FENCED": (Code.ABORTED, None),
    "SUPERSEDED": (Code.ABORTED, None),
    "QUEUE_FULL": (Code.RESOURCE_EXHAUSTED, 1.0),
    "MESSAGE_TOO_LARGE": (Code.RESOURCE_EXHAUSTED, None),
    "WATCHER_TOO_SLOW": (Code.RESOURCE_EXHAUSTED, 0.5),
    "TREE_LIMIT": (Code.RESOURCE_EXHAUSTED, None),
    "DEADLINE_PASSED": (Code.DEADLINE_EXCEEDED, None),
    "NOT_SERVED_YET": (Code.UNIMPLEMENTED, None),
    "NOT_READY": (Code.UNAVAILABLE, 0.5),
    "LEDGER_UNAVAILABLE": (Code.UNAVAILABLE, 1.0),
    "NOT_ALLOWED": (Code.PERMISSION_DENIED, None),
    "NOT_AUTHENTICATED": (Code.UNAUTHENTICATED, None),
    "DIGEST_MISMATCH": (Code.DATA_LOSS, None),
    "RANGE": (Code.OUT_OF_RANGE, None),
    "INTERNAL": (Code.INTERNAL, None),
    "QUESTION_UNKNOWN": (Code.NOT_FOUND, None),
    "ALREADY_ANSWERED": (Code.FAILED_PRECONDITION, None),
    "QUESTION_CLOSED": (Code.FAILED_PRECONDITION, None),
    "ANSWER_MISMATCH": (Code.INVALID_ARGUMENT, None),
    "WORKFLOW_INVALID": (Code.INVALID_ARGUMENT, None),
    "WORKFLOW_UNKNOWN": (Code.NOT_FOUND, None),
    "RUN_UNKNOWN": (Code.NOT_FOUND, None),
    "RUN_STATE": (Code.FAILED_PRECONDITION, None),
    "ENGINE_MISSING": (Code.FAILED_PRECONDITION, None),
    "CONVERSATION_UNKNOWN": (Code.NOT_FOUND, None),
    "MEMORY_UNKNOWN": (Code.NOT_FOUND, None),
    "STATE_UNKNOWN": (Code.NOT_FOUND, None),
    "STATE_CHANGED": (Code.ABORTED, None),
    "TOO_MANY": (Code.RESOURCE_EXHAUSTED, None),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong: `field` in proto path notation, `description` for people."""

    field: str
    description: str


class MusterError(Exception):
    """Base of everything the mesh refuses. `reason` is a key of `REASONS`."""

    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: Sequence[Violation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.violations = tuple(violations)
        code, retry = REASONS[self.reason]
        self.code = code
        self.retry_after_seconds = retry if retry_after_seconds is None else retry_after_seconds


class InvalidArgument(MusterError):
    """The caller must change its message."""

    reason = "INVALID_FIELD"


class NotFound(MusterError):
    """Nothing of that name is visible to the caller."""

    reason = "CONTRACT_UNKNOWN"


class ContractUnknown(NotFound):
    """There is no such contract, or it is another tenant's: nobody can tell which."""

    def __init__(self, contract_id: str) -> None:
        """`contract_id` as it stands on the wire."""
        super().__init__(
            f"there is no contract {contract_id}; list them with: muster contracts list"
        )


class AlreadyExists(MusterError):
    """The name is taken by something else."""

    reason = "REQUEST_ID_REUSED"


class FailedPrecondition(MusterError):
    """The thing is not in a state in which this can be done."""

    reason = "CONTRACT_ENDED"


class Fenced(MusterError):
    """The caller speaks for an attempt that is over."""

    reason = "FENCED"


class ResourceExhausted(MusterError):
    """A bound is reached; `retry_after_seconds` says when to come back, where that helps."""

    reason = "QUEUE_FULL"


class DeadlinePassed(MusterError):
    """The request's deadline had passed before it was accepted."""

    reason = "DEADLINE_PASSED"


class Unimplemented(MusterError):
    """Defined on the wire, and not served by this version."""

    reason = "NOT_SERVED_YET"


class Unavailable(MusterError):
    """Nothing is wrong with the call; come back later."""

    reason = "NOT_READY"


class NotAuthenticated(MusterError):
    """Who calls is not known, or not proven."""

    reason = "NOT_AUTHENTICATED"


class NotAllowed(MusterError):
    """The caller is known, and may not do this."""

    reason = "NOT_ALLOWED"
