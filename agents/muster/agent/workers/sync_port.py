"""What a sync capability's context says and asks, over a channel to where its attempt lives.

The channel leads out of a worker process, or from a thread into the event loop beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from muster.agent.blob import Blob
from muster.agent.capability import Capability
from muster.agent.context import Usage
from muster.agent.delegation import Call
from muster.agent.failures import ChildFailed
from muster.agent.inquiry import Inquiry
from muster.agent.remembering import Consulted
from muster.agent.topics.event import Publication
from muster.agent.values import Content, chunk_content, content_of, input_content, value_of
from muster.agent.workers.pipe import Message
from muster.model.errors import REASONS, MusterError
from muster.telemetry.context import traceparent_of
from muster.telemetry.tracing import current_span


class Channel(Protocol):
    """A way to the attempt."""

    @property
    def cancel_code(self) -> str | None:
        """Why the attempt is over; None while it is not."""

    def tell(self, op: str, *args: Any) -> None:
        """Says something that needs no answer."""

    def ask(self, op: str, *args: Any, contents: Sequence[Content] = ()) -> Message:
        """Asks and waits. Raises `AttemptCancelled` once the attempt is over."""


class SyncAttemptPort:
    """The port of a `SyncContext`."""

    def __init__(self, channel: Channel, capability: Capability) -> None:
        self._channel = channel
        self._capability = capability

    @property
    def cancel_code(self) -> str | None:
        return self._channel.cancel_code

    def progress(self, fraction: float, message: str) -> None:
        self._channel.tell("progress", fraction, message)

    def log(self, level: int, message: str) -> None:
        self._channel.tell("log", level, message)

    def use(self, usage: Usage) -> None:
        self._channel.tell("use", asdict(usage))

    def output(self, value: Any) -> None:
        self._ask("output", contents=[chunk_content(self._capability, value)])

    def submit(self, call: Call) -> SyncChild:
        options = {
            "capability": call.capability,
            "version": call.version,
            "key": call.key,
            "timeout": call.timeout,
            "schedule_to_start": call.schedule_to_start,
            "attempts": call.attempts,
            "on_parent_close": call.on_parent_close,
            "labels": dict(call.labels or {}),
        }
        span = current_span()
        traceparent = "" if span is None else traceparent_of(span)
        contents = [input_content(call.input)]
        answer = self._ask("submit", options, traceparent, contents=contents)
        return SyncChild(self, answer.said["key"])

    def gather(self, handles: Sequence[SyncChild]) -> list[Any]:
        answer = self._ask("gather", [handle.key for handle in handles])
        return [value_of(content) for content in answer.contents]

    def ask(self, inquiry: Inquiry) -> Content:
        return self._ask("ask", asdict(inquiry)).contents[0]

    def publish(self, publication: Publication) -> None:
        content = publication.content
        options = {**asdict(publication), "content": None}
        self._ask("publish", options, contents=[content])

    def consult(
        self, what: str, args: Mapping[str, Any], contents: Sequence[Content] = ()
    ) -> Consulted:
        answer = self._ask("consult", what, dict(args), contents=contents)
        return answer.said["answer"], answer.contents

    def put_blob(self, data: bytes, media_type: str) -> Blob:
        said = self._ask("put_blob", contents=[Content("binary", data, media_type)]).said
        return Blob(said["sha256"], said["size_bytes"], said["media_type"])

    def get_blob(self, blob: Blob, offset: int, length: int) -> bytes:
        answer = self._ask("get_blob", asdict(blob), offset, length)
        data: bytes = answer.contents[0].data
        return data

    def _ask(self, op: str, *args: Any, contents: Sequence[Content] = ()) -> Message:
        answer = self._channel.ask(op, *args, contents=contents)
        if "error" in answer.said:
            raise _error_of(answer)
        return answer


class SyncChild:
    """A child contract that sync code delegated."""

    __slots__ = ("_port", "key")

    def __init__(self, port: SyncAttemptPort, key: str) -> None:
        self._port = port
        self.key = key

    def result(self) -> Any:
        """Waits for its output, suspended meanwhile. Raises `ChildFailed`."""
        return self._port.gather([self])[0]


def error_answer(error: Exception) -> tuple[dict[str, Any], list[Content]]:
    """What an answer says when the question failed."""
    if isinstance(error, ChildFailed):
        said = {
            "error": "child",
            "code": error.code,
            "message": error.message,
            "contract_id": error.contract_id,
            "state": error.state,
            "permanent": error.permanent,
            "key": error.key,
        }
        return said, [] if error.details is None else [content_of(error.details)]
    if isinstance(error, MusterError):
        return {"error": "mesh", "message": error.message, "reason": error.reason}, []
    return {"error": "value", "message": str(error)}, []


def _error_of(answer: Message) -> Exception:
    said = answer.said
    if said["error"] == "child":
        failed = ChildFailed(
            said["code"],
            said["message"],
            contract_id=said["contract_id"],
            state=said["state"],
            permanent=said["permanent"],
            details=value_of(answer.contents[0]) if answer.contents else None,
        )
        failed.key = said["key"]
        return failed
    if said["error"] == "mesh":
        reason = said["reason"] if said["reason"] in REASONS else None
        return MusterError(said["message"], reason=reason)
    return ValueError(said["message"])
