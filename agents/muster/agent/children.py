"""Child contracts of the attempts at this host."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from muster.agent.asking import contract_failed
from muster.agent.contents import fetch, fill
from muster.agent.delegation import Call
from muster.agent.failures import ChildFailed
from muster.agent.values import Content, value_of
from muster.v1.request_pb2 import (
    PARENT_CLOSE_POLICY_ABANDON,
    PARENT_CLOSE_POLICY_CANCEL,
    Request,
)
from muster.v1.response_pb2 import CONTRACT_STATE_SUCCEEDED
from muster.wire.times import duration_of_seconds, timestamp_of_seconds

if TYPE_CHECKING:
    from muster.agent.attempt import Attempt
    from muster.agent.submitting import Submission

EXPIRY_GRACE_SECONDS = 1.0  # for the mesh to say itself that a deadline has passed


class Child:
    """A child contract, as the attempt sees it that delegated it."""

    __slots__ = ("_attempt", "key", "submission")

    def __init__(self, attempt: Attempt, key: str, submission: Submission) -> None:
        self._attempt = attempt
        self.key = key
        self.submission = submission

    @property
    def attempts(self) -> int:
        """The number of its last attempt; 0 while it goes on, and when there was none."""
        future = self.submission.response
        ended = future.done() and not future.cancelled() and future.exception() is None
        return future.result().attempt if ended else 0

    async def content(self) -> Content:
        """Waits for its output, suspended meanwhile. Raises `ChildFailed`."""
        future = self.submission.response
        if not future.done():
            self._attempt.begin_waiting()
            try:
                await asyncio.shield(future)
            finally:
                self._attempt.end_waiting()
        response = future.result()
        if response.state == CONTRACT_STATE_SUCCEEDED:
            return await fetch(response.payload, self._attempt.work.blobs)
        failed = contract_failed(response, ChildFailed)
        failed.key = "" if "/" in self.key else self.key
        raise failed

    async def result(self) -> Any:
        """Waits for its output, suspended meanwhile. Raises `ChildFailed`."""
        return value_of(await self.content())


class Children:
    """The children of one attempt."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._made: dict[str, Child] = {}
        self._ordinal = 0

    async def submit(self, call: Call, content: Content, traceparent: str = "") -> Child:
        """Delegates; what has the same key is the same child. `traceparent` names the span that it
        belongs to, if that is not under way here."""
        contract_id, epoch = self._attempt.lease.key
        if call.key in self._made:
            return self._made[call.key]
        request = Request()
        request.capability.name = call.capability
        request.capability.version = call.version
        parent = request.parent
        parent.contract_id, parent.epoch = contract_id, epoch
        if call.key:
            parent.key = key = call.key
        else:
            self._ordinal += 1
            parent.ordinal = self._ordinal
            key = f"{epoch}/{self._ordinal}"
        abandon = call.on_parent_close == "abandon"
        parent.on_parent_close = (
            PARENT_CLOSE_POLICY_ABANDON if abandon else PARENT_CLOSE_POLICY_CANCEL
        )
        expiry = None
        if call.schedule_to_start is not None:
            wait = duration_of_seconds(call.schedule_to_start)
            request.timeouts.schedule_to_start.CopyFrom(wait)
        if call.timeout is not None:
            request.deadline.CopyFrom(timestamp_of_seconds(time.time() + call.timeout))
            expiry = call.timeout + EXPIRY_GRACE_SECONDS
        request.retry_policy.maximum_attempts = call.attempts
        for label, value in (call.labels or {}).items():
            request.labels[label] = value
        await fill(request.payload, content, self._attempt.work.blobs)
        pipe = self._attempt.work.submit_pipe()
        await pipe.room()
        if traceparent:
            request.trace_context.traceparent = traceparent
        spans = self._attempt.work.spans
        span = None if spans is None else spans.ask(request)
        submission = pipe.submit(f"{contract_id}/{key}", request, expiry)
        if spans is not None and span is not None:
            spans.follow(span, submission.response)
        child = self._made[key] = Child(self._attempt, key, submission)
        return child

    def by_key(self, key: str) -> Child:
        """A child that was delegated before."""
        return self._made[key]

    def forget(self) -> None:
        """The attempt is over: nobody waits for its children any more."""
        for child in self._made.values():
            if not child.submission.response.done():
                self._attempt.work.submit_pipe().abandon(child.submission)


async def gather_contents(children: list[Child], attempt: Attempt) -> list[Content]:
    """The outputs of all, in order. Raises the first failure in order, once all have ended."""
    pending = [child.submission.response for child in children]
    if not all(future.done() for future in pending):
        attempt.begin_waiting()
        try:
            await asyncio.wait(pending)
        finally:
            attempt.end_waiting()
    return [await child.content() for child in children]
