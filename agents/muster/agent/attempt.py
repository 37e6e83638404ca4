"""One attempt at a host: from its assignment to its report."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from muster.agent.capability import Capability
from muster.agent.context import Context, Facts, Usage
from muster.agent.core_outbox import Lease
from muster.agent.failures import AGENT_ERROR, CHILD_FAILED, ChildFailed, Failed
from muster.agent.values import Content, arguments_of, content_of
from muster.model import limits
from muster.v1.response_pb2 import Failure
from muster.v1.session_pb2 import Assignment, Report
from muster.wire.payload import fill_payload
from muster.wire.times import duration_of_seconds, seconds_of_duration, seconds_of_timestamp

if TYPE_CHECKING:
    from muster.agent.work import Work


class Attempt:
    """An attempt that this host runs. It is also the port of its context."""

    __slots__ = (
        "assignment",
        "awaiting",
        "cancel_code",
        "capability",
        "chunks",
        "lease",
        "task",
        "usage",
        "work",
    )

    def __init__(
        self, work: Work, lease: Lease, assignment: Assignment, capability: Capability
    ) -> None:
        self.work = work
        self.lease = lease
        self.assignment = assignment
        self.capability = capability
        self.task: asyncio.Task[None] | None = None
        self.cancel_code: str | None = None
        self.awaiting = 0  # children that are being awaited
        self.chunks = 0
        self.usage: Usage | None = None

    async def run(self) -> None:
        """Runs the capability and hands its report in. The body of the attempt's task."""
        try:
            report = await self._perform()
        except asyncio.CancelledError:
            if self.cancel_code is None:
                raise
            report = None
        self.work.ended(self, report)

    async def _perform(self) -> Report:
        report = Report()
        report.key.contract_id, report.key.epoch = self.lease.key
        try:
            content = await self._call()
            if content.kind == "json" and len(content.data) <= limits.PAYLOAD_INLINE_BYTES_MAX // 4:
                report.payload.json = content.data  # type: ignore[assignment]
            else:
                await self.work.put_content(report.payload, content)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            fill_failure(report.failure, error)
        if self.chunks:
            report.output_chunks = self.chunks
        if self.usage is not None:
            fill_usage(report, self.usage)
        return report

    async def _call(self) -> Content:
        capability = self.capability
        payload = self.assignment.payload
        content = (
            Content("json", payload.json)
            if payload.HasField("json")
            else await self.work.get_content(payload)
        )
        arguments = arguments_of(capability, content)
        if capability.context_parameter:
            arguments[capability.context_parameter] = Context(facts_of(self.assignment), self)
        self.work.core.start(self.lease)
        return content_of(capability, await capability.function(**arguments))


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


def fill_failure(failure: Failure, error: BaseException) -> None:
    """Says on the wire what an exception says in Python."""
    if isinstance(error, Failed):
        failure.code, message = error.code, error.message
        failure.permanent = error.permanent
        if error.retry_after is not None:
            failure.retry_after.CopyFrom(duration_of_seconds(max(0.0, error.retry_after)))
        if error.details is not None:
            fill_payload(failure.details, error.details)
    elif isinstance(error, ChildFailed):
        failure.code = CHILD_FAILED
        message = f"{error.contract_id} ended as {error.state} with {error}"
        failure.permanent = error.permanent or bool(error.key)
    else:
        failure.code = AGENT_ERROR
        message = f"{type(error).__name__}: {error}"
    failure.message = cut(message, limits.FAILURE_MESSAGE_BYTES_MAX)


def cut(text: str, bytes_max: int) -> str:
    """The text, with its end replaced by "…" when it is too long."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - 3].decode(errors="ignore") + "…"


def fill_usage(report: Report, usage: Usage) -> None:
    """States what the attempt has spent."""
    report.usage.input_tokens = usage.input_tokens
    report.usage.output_tokens = usage.output_tokens
    report.usage.cost_micros = usage.cost_micros
    report.usage.model = usage.model
    if usage.cpu_seconds:
        report.usage.cpu_time.CopyFrom(duration_of_seconds(usage.cpu_seconds))
