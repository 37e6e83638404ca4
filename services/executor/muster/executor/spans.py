"""The executor's spans: from when an assignment came until it is on its way to its host.

Made when that is over, out of the time that the core has noted anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import time_ns
from typing import TYPE_CHECKING

from muster.executor.core_state import Session
from muster.telemetry import tracing
from muster.telemetry.context import dispatch_span, sampled
from muster.v1.session_pb2 import Assignment

if TYPE_CHECKING:
    from muster.telemetry.finished import Finished

_SCOPE = "muster.executor"


class DispatchSpans:
    """Makes them. For an executor of a process whose traces are on."""

    def __init__(self, finished: Finished) -> None:
        self._finished = finished

    @classmethod
    def of_process(cls) -> DispatchSpans | None:
        """None while traces are off."""
        on = tracing.current()
        if on is None:
            return None
        from muster.telemetry.finished import Finished

        return cls(Finished(on, _SCOPE))

    def dispatched(self, session: Session, assignments: Iterable[Assignment], now: float) -> None:
        """These go to the session's host with the next write; `now` is by the core's clock."""
        for assignment in assignments:
            if assignment.HasField("trace_context"):
                self._dispatched(session, assignment, now)

    def _dispatched(self, session: Session, assignment: Assignment, now: float) -> None:
        context, key = assignment.trace_context, assignment.key
        attempt = sampled(context.traceparent, context.tracestate)
        lease = session.leases.get((key.contract_id, key.epoch))
        if attempt is None or lease is None:
            return
        end_ns = time_ns()
        self._finished.add(
            "dispatch",
            dispatch_span(attempt, key.contract_id, key.epoch),
            attempt,
            start_ns=end_ns - int(max(0.0, now - lease.offered_at) * 1e9),
            end_ns=end_ns,
            attributes={
                "muster.contract_id": key.contract_id,
                "muster.capability": assignment.capability,
                "muster.tenant": session.tenant,
                "muster.attempt": assignment.attempt,
                "muster.epoch": key.epoch,
                "muster.agent": assignment.agent,
                "muster.host": session.host,
                "muster.session_id": session.id,
            },
        )
