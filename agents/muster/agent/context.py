"""What a capability learns about its attempt, and what it can say while it works.

A capability asks for it with a parameter annotated `Context` (async code) or `SyncContext` (sync
code, in a worker process or a thread). Both know the same; what waits is awaited in one and blocks
in the other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Unpack

from muster.agent.blob import Blob
from muster.agent.delegation import Call, CallOptions, ChildHandle, SyncChildHandle
from muster.agent.failures import AttemptCancelled
from muster.agent.inquiry import AskOptions, Inquiries, Inquiry, answer_value
from muster.agent.remembering import Consulting, ConsultingSync, Past, SyncPast
from muster.agent.topics.event import Publication, publication
from muster.model import limits

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from muster.agent.client import Client
    from muster.agent.values import Content

BINARY = "application/octet-stream"
LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: dict[str, int] = {"debug": 1, "info": 2, "warning": 3, "error": 4}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the assignment says about an attempt; times are Unix seconds."""

    contract_id: str
    epoch: int
    attempt: int = 1
    agent: str = ""
    capability: str = ""
    version: str = ""
    deadline: float | None = None
    start_to_close: float | None = None
    conversation_id: str = ""
    root_id: str = ""
    parent_id: str = ""
    depth: int = 0
    principal: str = ""
    tenant: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    traceparent: str = ""
    tracestate: str = ""
    last_failure: str = ""


class Port(Protocol):
    """Where what a capability says goes; nothing here waits."""

    @property
    def cancel_code(self) -> str | None: ...

    def progress(self, fraction: float, message: str) -> None: ...

    def log(self, level: int, message: str) -> None: ...

    def use(self, usage: Usage) -> None: ...


class AsyncPort(Port, Consulting, Protocol):
    """The port of code in the event loop."""

    async def output(self, value: Any) -> None: ...

    async def submit(self, call: Call) -> ChildHandle: ...

    async def gather(self, handles: Sequence[Any]) -> list[Any]: ...

    async def ask(self, inquiry: Inquiry) -> Content: ...

    async def publish(self, publication: Publication) -> None: ...

    def suspended(self) -> AbstractContextManager[None]: ...

    @property
    def blobs(self) -> Blobs: ...

    @property
    def client(self) -> Client: ...


class SyncPort(Port, ConsultingSync, Protocol):
    """The port of code that blocks."""

    def output(self, value: Any) -> None: ...

    def submit(self, call: Call) -> SyncChildHandle: ...

    def gather(self, handles: Sequence[Any]) -> list[Any]: ...

    def ask(self, inquiry: Inquiry) -> Content: ...

    def publish(self, publication: Publication) -> None: ...

    def put_blob(self, data: bytes, media_type: str) -> Blob: ...

    def get_blob(self, blob: Blob, offset: int, length: int) -> bytes: ...


class Blobs(Protocol):
    """The tenant's blobs, for async code."""

    async def put(self, data: bytes, media_type: str = BINARY) -> Blob:
        """Uploads bytes; returns once they are durable."""

    async def get(self, blob: Blob, offset: int = 0, length: int = 0) -> bytes:
        """A blob's content, or a range of it; a length of 0 means to the end."""


class SyncBlobs:
    """The tenant's blobs, for sync code."""

    __slots__ = ("_port",)

    def __init__(self, port: SyncPort) -> None:
        self._port = port

    def put(self, data: bytes, media_type: str = BINARY) -> Blob:
        """Uploads bytes; returns once they are durable."""
        return self._port.put_blob(data, media_type)

    def get(self, blob: Blob, offset: int = 0, length: int = 0) -> bytes:
        """A blob's content, or a range of it; a length of 0 means to the end."""
        return self._port.get_blob(blob, offset, length)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt has spent; money in millionths of the deployment's unit."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    cpu_seconds: float = 0.0
    model: str = ""

    def plus(self, other: Usage) -> Usage:
        """Both together; the later model counts."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_micros + other.cost_micros,
            self.cpu_seconds + other.cpu_seconds,
            other.model or self.model,
        )


class BaseContext:
    """What both kinds of context share."""

    __slots__ = ("_inquiries", "_port", "facts")

    def __init__(self, facts: Facts, port: Port) -> None:
        self.facts = facts
        self._port = port
        self._inquiries = Inquiries()

    @property
    def contract_id(self) -> str:
        """The contract; what the outside world should key side effects by."""
        return self.facts.contract_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.facts.attempt

    @property
    def deadline(self) -> float | None:
        """When the contract ends as EXPIRED, in Unix seconds by this machine's clock."""
        return self.facts.deadline

    def time_left(self) -> float | None:
        """Seconds until the deadline, never negative; None without one."""
        deadline = self.facts.deadline
        return None if deadline is None else max(0.0, deadline - time.time())

    @property
    def cancel_code(self) -> str | None:
        """Why the attempt is over (CANCELLED, ATTEMPT_TIMEOUT, …); None while it is not."""
        return self._port.cancel_code

    @property
    def cancelled(self) -> bool:
        """Whether the attempt is over: nothing that it still does is recorded."""
        return self._port.cancel_code is not None

    def progress(self, fraction: float, message: str = "") -> None:
        """Says how far the attempt is, from 0 to 1; negative when it does not know.

        Dropped when the mesh cannot keep up.
        """
        known = min(float(fraction), 1.0) if fraction >= 0 else -1.0
        self._port.progress(known, message)

    def log(self, message: str, level: LogLevel = "info") -> None:
        """Adds a line to the attempt's log. Dropped when the mesh cannot keep up."""
        self._port.log(LOG_LEVELS[level], message)

    def use(
        self,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost_micros: int = 0,
        cpu_seconds: float = 0.0,
        model: str = "",
    ) -> None:
        """Adds to what the attempt has spent, which its report states. Nothing can be negative."""
        if min(input_tokens, output_tokens, cost_micros, cpu_seconds) < 0:
            message = "an attempt cannot spend less than nothing"
            raise ValueError(message)
        self._port.use(Usage(input_tokens, output_tokens, cost_micros, cpu_seconds, model))


class Context(Past, BaseContext):
    """The context of an async capability."""

    __slots__ = ()
    _port: AsyncPort

    @property
    def client(self) -> Client:
        """What any client can ask of the mesh, as the host's own principal. Contracts that it
        submits are nobody's children: give them a request_id that another attempt, or the same
        event again, would give them too."""
        return self._port.client

    def suspended(self) -> AbstractContextManager[None]:
        """Gives the attempt's slot to others while the block waits for what they do; awaiting
        children does so by itself."""
        return self._port.suspended()

    @property
    def blobs(self) -> Blobs:
        """The tenant's blobs."""
        return self._port.blobs

    async def output(self, value: Any) -> None:
        """Delivers a part of the output ahead of the response; waits while the window is full."""
        await self._port.output(value)

    async def submit(
        self, capability: str, input: Any = None, **options: Unpack[CallOptions]
    ) -> ChildHandle:
        """Delegates a child contract and returns at once; see `Call` for the options."""
        return await self._port.submit(Call(capability, input, **options))

    async def call(self, capability: str, input: Any = None, **options: Unpack[CallOptions]) -> Any:
        """Delegates a child contract and waits for its output, suspended meanwhile.

        Raises `ChildFailed` when it ends without output.
        """
        handle = await self._port.submit(Call(capability, input, **options))
        return await handle.result()

    async def gather(self, calls: Sequence[Call | ChildHandle]) -> list[Any]:
        """Delegates many and waits for all their outputs, in the same order.

        Raises `ChildFailed` for the first in order that failed, once all have ended.
        """
        handles = [
            await self._port.submit(call) if isinstance(call, Call) else call for call in calls
        ]
        return await self._port.gather(handles)

    async def ask(self, text: str, **options: Unpack[AskOptions]) -> Any:
        """Asks a person, and ends the attempt: nothing waits, and no slot is taken. Once there is
        an answer the function runs again, from its beginning, and this returns the answer at once.
        So do what must not be done twice after asking, or as children with keys.

        See `AskOptions` for choices, type, default and deadline. Raises `ValueError` for a question
        that nobody could answer; otherwise, where there is no answer yet, the code is cancelled.
        """
        inquiry, codec = self._inquiries.make(text, options)
        return answer_value(await self._port.ask(inquiry), codec)

    async def publish(
        self,
        topic: str,
        data: Any = None,
        *,
        id: str = "",
        type: str = "",
        about: str = "",
        timeout: float = limits.PUBLISH_SECONDS_DEFAULT,
    ) -> None:
        """Publishes an event to a topic, like "orders.created"; returns once the bus has it.

        `data` is a value of JSON, or bytes, of at most 64 KiB. What has an `id` that this contract
        has used within two minutes is not published again, so name one if another attempt may
        publish the same. `type` and `about` become the CloudEvent's type and subject. The bus is no
        record: what must not be lost is a contract.

        Raises `MusterError`, with reason NOT_READY when the bus does not take it within `timeout`
        seconds: it may be there all the same.
        """
        await self._port.publish(publication(topic, data, id, type, about, timeout))


class SyncContext(SyncPast, BaseContext):
    """The context of a sync capability.

    Whatever waits raises `AttemptCancelled` once the attempt is over.
    """

    __slots__ = ()
    _port: SyncPort

    @property
    def blobs(self) -> SyncBlobs:
        """The tenant's blobs."""
        return SyncBlobs(self._port)

    def check(self) -> None:
        """Raises `AttemptCancelled` once the attempt is over; for loops that compute long."""
        code = self._port.cancel_code
        if code is not None:
            raise AttemptCancelled(code)

    def output(self, value: Any) -> None:
        """Delivers a part of the output ahead of the response; waits while the window is full."""
        self._port.output(value)

    def submit(
        self, capability: str, input: Any = None, **options: Unpack[CallOptions]
    ) -> SyncChildHandle:
        """Delegates a child contract and returns at once; see `Call` for the options."""
        return self._port.submit(Call(capability, input, **options))

    def call(self, capability: str, input: Any = None, **options: Unpack[CallOptions]) -> Any:
        """Delegates a child contract and waits for its output, suspended meanwhile.

        Raises `ChildFailed` when it ends without output.
        """
        return self._port.submit(Call(capability, input, **options)).result()

    def gather(self, calls: Sequence[Call | SyncChildHandle]) -> list[Any]:
        """Delegates many and waits for all their outputs, in the same order.

        Raises `ChildFailed` for the first in order that failed, once all have ended.
        """
        handles = [self._port.submit(call) if isinstance(call, Call) else call for call in calls]
        return self._port.gather(handles)

    def ask(self, text: str, **options: Unpack[AskOptions]) -> Any:
        """Asks a person, and ends the attempt: nothing waits, and no slot is taken. Once there is
        an answer the function runs again, from its beginning, and this returns the answer at once.
        So do what must not be done twice after asking, or as children with keys.

        See `AskOptions` for choices, type, default and deadline. Raises `ValueError` for a question
        that nobody could answer; otherwise, where there is no answer yet, `AttemptCancelled`.
        """
        inquiry, codec = self._inquiries.make(text, options)
        return answer_value(self._port.ask(inquiry), codec)

    def publish(
        self,
        topic: str,
        data: Any = None,
        *,
        id: str = "",
        type: str = "",
        about: str = "",
        timeout: float = limits.PUBLISH_SECONDS_DEFAULT,
    ) -> None:
        """Publishes an event to a topic, like "orders.created"; returns once the bus has it.

        `data` is a value of JSON, or bytes, of at most 64 KiB. What has an `id` that this contract
        has used within two minutes is not published again, so name one if another attempt may
        publish the same. `type` and `about` become the CloudEvent's type and subject. The bus is no
        record: what must not be lost is a contract.

        Raises `MusterError`, with reason NOT_READY when the bus does not take it within `timeout`
        seconds: it may be there all the same.
        """
        self._port.publish(publication(topic, data, id, type, about, timeout))
