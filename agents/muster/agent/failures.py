"""What goes wrong with work, as exceptions: raised by capabilities, and by those who wait for them.

What goes wrong with a call to the mesh itself is a `muster.model.errors.MusterError`.
"""

from __future__ import annotations

from typing import Any

AGENT_ERROR = "AGENT_ERROR"
INVALID_INPUT = "INVALID_INPUT"
INVALID_OUTPUT = "INVALID_OUTPUT"
WORKER_DIED = "WORKER_DIED"
REPORT_REFUSED = "REPORT_REFUSED"
OUTPUT_REFUSED = "OUTPUT_REFUSED"
CAPABILITY_UNKNOWN = "CAPABILITY_UNKNOWN"
CHILD_FAILED = "CHILD_FAILED"
PARKED = "PARKED"  # why an attempt is over that has asked a person


class Failed(Exception):
    """Raise it in a capability to say how an attempt failed.

    `code` is upper-snake, for programs; `permanent` says that another attempt would fail in the
    same way; `retry_after` is the pause in seconds that the next attempt should wait for; `details`
    is any JSON value of at most 64 KiB.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        details: Any = None,
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.permanent = permanent
        self.retry_after = retry_after
        self.details = details


class ContractFailed(Exception):
    """A contract ended without output.

    `state` is the name of its last state (FAILED, CANCELLED, EXPIRED or DEAD_LETTERED); `code`,
    `message`, `permanent` and `details` are those of the response's failure.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        contract_id: str = "",
        state: str = "FAILED",
        permanent: bool = False,
        details: Any = None,
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.contract_id = contract_id
        self.state = state
        self.permanent = permanent
        self.details = details
        self.key = ""  # of a child that was delegated with one


class ChildFailed(ContractFailed):
    """A contract that this attempt delegated ended without output.

    A capability that does not catch it fails with CHILD_FAILED, which is permanent when the child's
    failure is, or when the child has a key: another attempt would find the same child.
    """


class RunFailed(Exception):
    """A run of a workflow ended without having been done.

    `state` is FAILED or CANCELLED; `code`, `message`, `permanent` and `details` are those of the
    run's failure.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        run_id: str = "",
        state: str = "FAILED",
        permanent: bool = False,
        details: Any = None,
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.run_id = run_id
        self.state = state
        self.permanent = permanent
        self.details = details


class AttemptCancelled(Exception):
    """Raised in a sync capability by whatever it asks of its context once the attempt is over.

    Async capabilities get `asyncio.CancelledError` instead. `code` says why it is over.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
