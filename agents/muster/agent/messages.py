"""Assignments as facts, and how attempts ended as reports."""

from __future__ import annotations

import re
import time
from typing import Any

from muster.agent.contents import fill_small, is_small
from muster.agent.context import Facts, Usage
from muster.agent.failures import AGENT_ERROR, Failed
from muster.agent.inquiry import Inquiry
from muster.agent.text import cut
from muster.agent.values import content_of
from muster.model import limits
from muster.v1.question_pb2 import Question
from muster.v1.response_pb2 import Failure
from muster.v1.session_pb2 import Assignment, Report
from muster.wire.times import (
    duration_of_seconds,
    seconds_of_duration,
    seconds_of_timestamp,
    timestamp_of_seconds,
)

# What the wire takes as a failure's code, and as the pause it asks for.
_CODE = re.compile("[A-Z][A-Z0-9_]{0,63}")
RETRY_AFTER_SECONDS_MAX = 86_400.0


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
        tracestate=assignment.trace_context.tracestate if has("trace_context") else "",
        last_failure=assignment.last_failure.code if has("last_failure") else "",
    )


def fill_failure(failure: Failure, failed: Failed) -> None:
    """Says on the wire how an attempt failed."""
    code, message = failed.code, failed.message
    if not _CODE.fullmatch(code):
        code, message = AGENT_ERROR, f"{code}: {message}"
    failure.code = code
    failure.message = cut(message, limits.FAILURE_MESSAGE_BYTES_MAX)
    failure.permanent = failed.permanent
    if failed.retry_after is not None:
        failure.retry_after.CopyFrom(
            duration_of_seconds(min(max(0.0, failed.retry_after), RETRY_AFTER_SECONDS_MAX))
        )
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


def fill_question(question: Question, inquiry: Inquiry) -> None:
    """Puts on the wire what is asked."""
    question.id, question.text = inquiry.id, inquiry.text
    if inquiry.schema:
        question.answer.json_schema = inquiry.schema
    for choice in inquiry.choices:
        question.choices.add().json = choice
    if inquiry.deadline is not None:
        question.deadline.CopyFrom(timestamp_of_seconds(time.time() + inquiry.deadline))
    if inquiry.default is not None:
        question.default_answer.json = inquiry.default


def fill_usage(report: Report, usage: Usage) -> None:
    """States what an attempt has spent."""
    report.usage.input_tokens = usage.input_tokens
    report.usage.output_tokens = usage.output_tokens
    report.usage.cost_micros = usage.cost_micros
    report.usage.model = cut(usage.model, 128)
    if usage.cpu_seconds > 0:
        report.usage.cpu_time.CopyFrom(duration_of_seconds(usage.cpu_seconds))
