"""One attempt at a host: from its assignment to its report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from muster.agent.attempt_port import AttemptPort
from muster.agent.capability import Capability, Runs
from muster.agent.contents import fetch, fill, fill_small, is_small
from muster.agent.context import Facts, Usage
from muster.agent.failures import Failed
from muster.agent.performing import failed_of, perform_async
from muster.agent.session.core_outbox import Key, Lease
from muster.agent.text import cut
from muster.agent.values import Content, content_of
from muster.agent.workers import sync_desk
from muster.agent.workers.pipe import Message
from muster.agent.workers.turns import Turns
from muster.model import limits
from muster.v1.response_pb2 import Failure
from muster.v1.session_pb2 import Assignment, Report
from muster.wire.times import duration_of_seconds, seconds_of_duration, seconds_of_timestamp

if TYPE_CHECKING:
    from muster.agent.work import Work


class Attempt:
    """An attempt that this host runs; towards worker processes and threads it is their `Job`."""

    __slots__ = (
        "_facts",
        "_port",
        "_turns",
        "_waiting",
        "assignment",
        "cancel_code",
        "capability",
        "lease",
        "received",
        "task",
        "work",
    )

    def __init__(
        self,
        work: Work,
        lease: Lease,
        assignment: Assignment,
        capability: Capability,
        received: float,
    ) -> None:
        self.work = work
        self.lease = lease
        self.assignment = assignment
        self.capability = capability
        self.received = received  # by the loop's clock
        self.task: asyncio.Task[None] | None = None
        self.cancel_code: str | None = None
        self._facts: Facts | None = None
        self._port: AttemptPort | None = None
        self._turns: Turns | None = None
        self._waiting = 0  # how many awaits of children there are

    # --- from assignment to report ----------------------------------------------------------------

    async def run(self) -> None:
        """Runs the capability and hands its report in. The body of the attempt's task."""
        report: Report | None = None
        try:
            report = await self._perform()
        except asyncio.CancelledError:
            if self.cancel_code is None:
                raise
        finally:
            self.work.ended(self, report)

    async def _perform(self) -> Report:
        report = Report()
        report.key.contract_id, report.key.epoch = self.lease.key
        try:
            content = await self._output()
            if is_small(content):
                fill_small(report.payload, content)
            else:
                await fill(report.payload, content, self.work.blobs)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self.cancel_code is not None or task is None or task.cancelling():
                raise
            fill_failure(report.failure, failed_of(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - all of it goes into the report
            fill_failure(report.failure, failed_of(error))
        if self._port is not None:
            self._add_what_was_said(self._port, report)
        return report

    async def _output(self) -> Content:
        capability, payload = self.capability, self.assignment.payload
        content = (
            Content("json", payload.json)
            if payload.HasField("json")
            else await fetch(payload, self.work.blobs)
        )
        if capability.runs is not Runs.LOOP:
            pool = self.work.pool_for(capability.runs)
            self._turns = pool.turns
            return await pool.run(self, content)
        return await perform_async(self, content)

    def _add_what_was_said(self, port: AttemptPort, report: Report) -> None:
        port.close()
        report.output_chunks = port.chunks
        if port.usage is not None:
            _fill_usage(report, port.usage)

    def stop(self, code: str) -> None:
        """The mesh wants it stopped."""
        if self.cancel_code is None:
            self.cancel_code = code
            if self.task is not None:
                self.task.cancel(code)

    def overdue(self, now: float) -> bool:
        """Whether its contract's deadline has passed, by the time left that the mesh named."""
        assignment = self.assignment
        if not assignment.HasField("time_left"):
            return False
        return now > self.received + seconds_of_duration(assignment.time_left)

    def has_room(self) -> None:
        """Its window has room for stream items again."""
        if self._port is not None:
            self._port.has_room()

    # --- waiting for children ---------------------------------------------------------------------

    def begin_waiting(self) -> None:
        """Its code awaits a child: the attempt is suspended while it awaits any."""
        self._waiting += 1
        if self._waiting == 1:
            self.work.core.suspend(self.lease)
            if self._turns is not None:
                self._turns.suspend(self.assignment.depth)
            self.work.wake()

    def end_waiting(self) -> None:
        """One await has ended."""
        self._waiting -= 1
        if self._waiting == 0:
            self.work.core.resume(self.lease)
            if self._turns is not None:
                self._turns.resume(self.assignment.depth)
            self.work.wake()

    # --- as a job ---------------------------------------------------------------------------------

    @property
    def key(self) -> Key:
        return self.lease.key

    @property
    def facts(self) -> Facts:
        """What the assignment says."""
        if self._facts is None:
            self._facts = facts_of(self.assignment)
        return self._facts

    @property
    def port(self) -> AttemptPort:
        """What its code says and asks goes through it."""
        if self._port is None:
            self._port = AttemptPort(self)
        return self._port

    def started(self) -> None:
        self.work.core.start(self.lease)
        self.work.wake()

    def tell(self, message: Message) -> None:
        sync_desk.tell(self.port, message)

    async def serve(self, message: Message) -> tuple[dict[str, Any], Sequence[Content]]:
        return await sync_desk.serve(self.port, message)


def facts_of(assignment: Assignment) -> Facts:
    """What an assignment says, without its payload."""
    has = assignment.HasField
    return Facts(
        contract_id=assignment.key.contract_id,
        epoch=assignment.key.epoch,
        attempt=assignment.attempt,
        agent=assignment.agent,
        capability=assignment.capability,
        version=assignment.capability_version,
        deadline=seconds_of_timestamp(assignment.deadline) if has("deadline") else None,
        start_to_close=(
            seconds_of_duration(assignment.start_to_close) if has("start_to_close") else None
        ),
        conversation_id=assignment.conversation_id,
        root_id=assignment.root_id,
        parent_id=assignment.parent_id,
        depth=assignment.depth,
        principal=assignment.principal,
        tenant=assignment.tenant,
        labels=dict(assignment.labels),
        traceparent=assignment.trace_context.traceparent if has("trace_context") else "",
        last_failure=assignment.last_failure.code if has("last_failure") else "",
    )


def fill_failure(failure: Failure, failed: Failed) -> None:
    """Says on the wire how an attempt failed."""
    failure.code = failed.code
    failure.message = cut(failed.message, limits.FAILURE_MESSAGE_BYTES_MAX)
    failure.permanent = failed.permanent
    if failed.retry_after is not None:
        failure.retry_after.CopyFrom(duration_of_seconds(max(0.0, failed.retry_after)))
    if failed.details is not None:
        _fill_details(failure, failed.details)


def _fill_details(failure: Failure, details: Any) -> None:
    try:
        content = content_of(details)
    except ValueError as error:
        content = content_of(f"the details have no place in JSON: {error}")
    if not is_small(content):
        content = content_of("the details were larger than 64 KiB")
    fill_small(failure.details, content)


def _fill_usage(report: Report, usage: Usage) -> None:
    report.usage.input_tokens = usage.input_tokens
    report.usage.output_tokens = usage.output_tokens
    report.usage.cost_micros = usage.cost_micros
    report.usage.model = cut(usage.model, 128)
    if usage.cpu_seconds > 0:
        report.usage.cpu_time.CopyFrom(duration_of_seconds(usage.cpu_seconds))
